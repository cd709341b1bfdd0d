//! The thread beside a sink that tends what the sink has written: compresses, removes. Two never tend the same sink's files.

use super::go::Go;
use crate::sinks::Sink;
use crate::thread::{Doing, Flag, Inside, Latch, Threads};
use std::io;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How often a sink is asked whether there is something to do.
const PACE: Duration = Duration::from_secs(1);
/// How long one look at a sink's files may take before somebody should look at it: it may compress many.
const UPKEEP_MAX: Duration = Duration::from_secs(4 * 3600);
/// How far behind all others the system is to run it: nobody waits for what it does.
const NICE: i32 = 10;

/// A sink's upkeep, under way.
pub(super) struct Upkeep {
    stop: Flag,
    thread: Thread,
    done: Arc<Latch>,
}

impl Upkeep {
    /// Starts a thread for the sink called `name`, if it has anything to keep up. It begins on the word of `go`, and not
    /// before what `before` it tended the same files has ended, which it is told to then.
    ///
    /// Errors: the system has no more threads to give.
    pub(super) fn start(
        threads: &Threads,
        name: &str,
        sink: &Arc<dyn Sink>,
        go: &Arc<Go>,
        before: Option<Arc<Upkeep>>,
    ) -> io::Result<Option<Self>> {
        if !sink.has_upkeep() {
            return Ok(None);
        }
        let (stop, done) = (Flag::default(), Arc::new(Latch::default()));
        let (stopped, inside, sink, go) =
            (stop.clone(), Inside::new(&done), Arc::clone(sink), Arc::clone(go));
        let handle = threads.spawn(format!("keep-{name}"), &[], move |row| {
            let _inside = inside;
            if !go.wait() {
                return;
            }
            if let Some(before) = before {
                before.stop();
                while !before.wait(Instant::now() + PACE) && !stopped.is_raised() {}
            }
            row.set_patience(UPKEEP_MAX);
            // Where it is not allowed, it competes like the others.
            let _ = rustix::process::nice(NICE);
            while !stopped.is_raised() {
                row.set(Doing::Working);
                sink.upkeep(&stopped);
                row.set(Doing::Idle);
                std::thread::park_timeout(PACE);
            }
        })?;
        Ok(Some(Upkeep { stop, thread: handle.thread().clone(), done }))
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        self.stop.raise();
        self.thread.unpark();
    }

    /// Waits until it has ended, after [`Upkeep::stop`]; false if the deadline passes first.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        self.done.wait(deadline)
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::sinks::SendError;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Says when it begins and ends to tend, which it does until it is told to end and `may_end`.
    struct Tended {
        name: &'static str,
        says: Sender<(&'static str, &'static str)>,
        may_end: parking_lot::Mutex<Receiver<()>>,
    }

    impl Sink for Tended {
        fn kind(&self) -> &'static str {
            "tended"
        }

        fn send(&self, _: &Batch) -> Result<(), SendError> {
            Ok(())
        }

        fn has_upkeep(&self) -> bool {
            true
        }

        fn upkeep(&self, stop: &Flag) {
            self.says.send((self.name, "begins")).unwrap();
            self.may_end.lock().recv().unwrap();
            assert!(stop.is_raised(), "{} is told", self.name);
            self.says.send((self.name, "ends")).unwrap();
        }
    }

    #[test]
    fn a_successor_begins_on_the_word_and_when_the_one_before_has_ended() {
        let (says, said) = channel();
        let sink = |name| {
            let (end, may_end) = channel();
            let sink = Tended { name, says: says.clone(), may_end: may_end.into() };
            (Arc::new(sink) as Arc<dyn Sink>, end)
        };
        let (threads, patience) = (Threads::default(), Duration::from_secs(20));
        let (old, end_old) = sink("old");
        let (new, end_new) = sink("new");
        let (begun, go) = (Arc::new(Go::default()), Arc::new(Go::default()));
        begun.say(true);
        let first = Upkeep::start(&threads, "s", &old, &begun, None).unwrap().map(Arc::new);
        assert_eq!(said.recv_timeout(patience), Ok(("old", "begins")));
        let second = Upkeep::start(&threads, "s", &new, &go, first.clone()).unwrap().unwrap();
        // One that is never in force does not tend, and does not end the other.
        let (never, _end) = sink("never");
        let home = Arc::new(Go::default());
        let third = Upkeep::start(&threads, "s", &never, &home, first.clone()).unwrap().unwrap();
        home.say(false);
        assert!(third.wait(Instant::now() + patience));
        assert!(!first.as_ref().unwrap().stop.is_raised());
        go.say(true);
        while !first.as_ref().unwrap().stop.is_raised() {
            std::thread::yield_now();
        }
        assert!(said.try_recv().is_err(), "the old one is at it still");
        end_old.send(()).unwrap();
        let next = || said.recv_timeout(patience).unwrap();
        assert_eq!([next(), next()], [("old", "ends"), ("new", "begins")]);
        second.stop();
        end_new.send(()).unwrap();
        assert_eq!(next(), ("new", "ends"));
        assert!(second.wait(Instant::now() + patience));
    }
}
