//! The end of what a reload took out: sources settle what they shipped, sinks deliver what they have, until their time is
//! over. Each on a short-lived thread that only waits.

use super::go::Go;
use super::inside::View;
use super::live::{Core, Live, LiveSink, LiveSource, Running, Wanted};
use super::{GRACE, StartError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a wait without end looks up.
const LOOK: Duration = Duration::from_secs(3600);
/// How long after a failure a source that is to follow another is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Core {
    /// Waits until the sink's lane is empty, `drain` at the longest; what is left then is dropped and counted.
    pub fn see_off_sink(&self, sink: &LiveSink, drain: Duration) {
        let deadline = Instant::now() + drain;
        let name = &sink.config.name;
        if let Some(disk) = &sink.disk {
            self.see_off_disk(sink, disk, deadline);
            self.keeper.let_go_disk(&disk.lane);
            return self.forget_sink(sink);
        }
        // Blocks that were routed before may still bring something.
        sink.lane.feeds().wait(deadline);
        sink.lane.close();
        if !sink.senders.wait(deadline) {
            let dropped = sink.lane.forsake();
            tracing::error!(
                "sink {name}: removed with entries it could not deliver in {drain:?}: {dropped} dropped, and what was \
                 being sent"
            );
            if !sink.senders.wait(Instant::now() + GRACE) {
                tracing::warn!("sink {name}: an attempt is still under way; it is counted when it ends");
            }
        }
        self.forget_sink(sink);
    }

    /// The sink has ended.
    fn forget_sink(&self, sink: &LiveSink) {
        let name = &sink.config.name;
        self.keeper.let_go(&sink.senders);
        let mut live = self.live.lock();
        let mut view = View::clone(&self.house.view.load());
        let shown = &mut view.sinks[sink.row];
        if shown.removed {
            // It holds the lock on its directory as long as anybody can look at it.
            shown.disk = None;
        }
        self.house.view.store(Arc::new(view));
        live.retiring.retain(|other| !Arc::ptr_eq(&other.lane, &sink.lane));
        self.share_memory(&live);
        self.ended.notify_all();
        self.house.threads.forget_ended();
        tracing::info!("sink {name}: removed");
    }

    /// Waits until what the source shipped is settled, and lets the one that follows it begin.
    ///
    /// One that was removed has `drain` for it, as has one that does not wait for full sinks anyway. One that is to be
    /// followed by another of its name has all the time it needs: what is not settled would be read again.
    pub fn see_off_source(self: &Arc<Self>, name: &str, running: &Running, drain: Duration) {
        let deadline = Instant::now() + drain;
        loop {
            let until = match self.is_followed(name) {
                true => Instant::now() + LOOK.min(drain),
                false => deadline,
            };
            if running.done.wait(until) {
                break;
            }
            if !self.is_followed(name) && Instant::now() >= deadline {
                tracing::warn!(
                    "source {name}: what it took in is not all delivered, and is not waited for any longer; files give \
                     theirs again if they are read again"
                );
                running.ending.leave();
                running.done.wait(Instant::now() + LOOK);
                break;
            }
        }
        loop {
            let mut live = self.live.lock();
            live.leaving.retain(|leaving| !Arc::ptr_eq(&leaving.running.ending, &running.ending));
            if !running.ending.is_leaving() {
                // Everything is settled, so nothing of it is on its way. Otherwise its numbers stay: blocks may come.
                running.domains.iter().for_each(|id| self.house.domains.remove(*id));
            }
            self.house.threads.forget_ended();
            match self.follow(&mut live, name) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!("source {name}: cannot begin again, next try in {AGAIN:?}: {error}")
                }
            }
            drop(live);
            if self.working.wait(Instant::now() + AGAIN) {
                return;
            }
        }
    }

    /// Whether a source of this name waits for this one to end.
    fn is_followed(&self, name: &str) -> bool {
        let live = self.live.lock();
        let follows = |source: &&LiveSource| source.config.name == name;
        let next = live.sources.iter().find(follows);
        next.is_some_and(|next| next.running.is_none() && next.config.strategy.waits())
    }

    /// Begins the source of this name that waits, if one does and nobody else is left that it waits for.
    fn follow(self: &Arc<Self>, live: &mut Live, name: &str) -> Result<(), StartError> {
        if live.ending || live.leaving.iter().any(|leaving| leaving.source.name == name) {
            return Ok(());
        }
        let waits = |source: &LiveSource| source.config.name == name && source.running.is_none();
        let Some(at) = live.sources.iter().position(waits) else { return Ok(()) };
        let config = Arc::clone(&live.config);
        let source = &live.sources[at];
        let row = usize::from(source.id.0);
        let limits = self.limits(&source.rate);
        let wanted = Wanted {
            config: &config,
            source: &source.config,
            id: source.id,
            named: &live.ledger.sources[row],
            plan: &source.plan,
            gate: &source.gate,
            limits: &limits,
            assigned: &source.assigned,
        };
        let (mut opened, came) = self.open_source(&mut live.intake, wanted);
        let go = Arc::new(Go::default());
        let (done, runners) = (Arc::clone(&opened.done), std::mem::take(&mut opened.runners));
        let began = came
            .and_then(|()| runners.into_iter().try_for_each(|runner| self.spawn_source(runner, &done, &go)))
            .and_then(|()| self.run_intake(live, &config));
        if let Err(error) = began {
            go.say(false);
            self.take_back(&mut live.intake, &opened);
            return Err(error);
        }
        let mut view = View::clone(&self.house.view.load());
        view.sources[row] = opened.view.clone();
        self.house.view.store(Arc::new(view));
        let source = &mut live.sources[at];
        (source.running, source.submitter) = (Some(Running::of(&opened)), opened.submitter);
        go.say(true);
        let seats = opened.seats;
        live.intake.tell(move |intake| intake.begin(seats));
        Ok(())
    }
}
