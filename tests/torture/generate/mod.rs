//! Sends numbered entries at a steady rate, whatever the other side does, and keeps the list of what has to arrive.

pub mod file;
pub mod http;
pub mod tcp;
pub mod udp;

use crate::check::Obligations;
use crate::entry::{self, Id, Kind, Sizes, Stream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

/// How often a generator sends: in between it rests.
const TURN: Duration = Duration::from_millis(10);

/// What all generators of a run share.
#[derive(Clone)]
pub struct Plan {
    pub run: u32,
    pub obligations: Arc<Obligations>,
    /// Entries a second, each generator.
    pub rate: u64,
    /// One of so many entries is poison; 0: none.
    pub poison_every: u64,
}

impl Plan {
    /// Which entry has this number.
    pub fn id(&self, stream: Stream, number: u64) -> Id {
        let poison = self.poison_every > 0 && number % self.poison_every == self.poison_every / 2;
        Id { stream, number, kind: if poison { Kind::Poison } else { Kind::Plain } }
    }

    /// The text of entries, each between `before` and `after`.
    pub fn text(
        &self,
        stream: Stream,
        numbers: Range<u64>,
        sizes: Sizes,
        before: &str,
        after: &str,
    ) -> String {
        let mut text = String::new();
        for number in numbers {
            text += before;
            entry::write(self.run, self.id(stream, number), sizes, &mut text);
            text += after;
        }
        text
    }
}

/// Running generators; they stop when this is dropped.
#[derive(Default)]
pub struct Generators {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Generators {
    /// Starts one: `turn` is called every 10 ms with how many entries are due, and says how many it sent.
    pub fn start(&mut self, rate: u64, mut turn: impl FnMut(u64) -> u64 + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(spawn(move || {
            let (begun, mut sent) = (Instant::now(), 0_u64);
            while !stop.load(SeqCst) {
                let due = (begun.elapsed().as_millis() as u64 * rate / 1000).saturating_sub(sent);
                if due > 0 {
                    // What could not be sent for a while is not made up for in one go.
                    let now = due.min(rate / 10 + 1);
                    turn(now);
                    sent += due;
                }
                park_timeout(TURN);
            }
        }));
    }

    /// Stops them and waits until what they sent is written down.
    pub fn stop(&mut self) {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.stop = Arc::default();
    }
}

impl Drop for Generators {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
