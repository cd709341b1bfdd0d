//! The moment in which another config takes its place.

use super::live::LiveSink;
use super::reload::Stage;
use crate::delivery::fallback::Outlet;
use crate::thread::Latch;
use std::sync::Arc;
use std::time::Instant;

impl Stage<'_> {
    /// Everything is ready: it takes its place. Nothing here can fail.
    pub(super) fn commit(mut self) {
        self.committed = true;
        let (core, live) = (self.core, &mut *self.live);
        let kept = |senders: &Arc<Latch>| live.lanes().any(|old| Arc::ptr_eq(&old.senders, senders));
        for sink in self.sinks.iter().filter(|sink| !kept(&sink.senders)) {
            // Before anything is delivered by it.
            core.keeper.keep(&sink.sink, &sink.senders);
        }
        for disk in self.sinks.iter().filter_map(|sink| Some((sink, sink.disk.as_ref()?))) {
            let (sink, disk) = disk;
            disk.lane.set_when_full(sink.config.lane.buffer.when_full);
            core.keeper.keep_disk(&disk.lane);
        }
        self.found.drain(..).for_each(|count| count());
        let gates = self.sources.iter().map(|source| Arc::clone(&source.gate));
        let gates = gates.chain(core.desk.iter().map(|desk| Arc::clone(&desk.gate)));
        let gates: Vec<_> =
            gates.chain(self.repeats.iter().map(|repeats| Arc::clone(&repeats.gate))).collect();
        let (removed, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut live.sinks)
            .into_iter()
            .partition(|old| !self.sinks.iter().any(|new| Arc::ptr_eq(&new.lane, &old.lane)));
        for sink in self.sinks.iter().chain(&live.retiring).chain(&removed).chain(&self.letters) {
            sink.entrance().set_gates(gates.clone());
        }
        for (lane, crew, manner, fresh) in std::mem::take(&mut self.crews) {
            lane.set_manner(manner, fresh);
            lane.relieve(crew);
        }
        for old in staying {
            if !self.sinks.iter().any(|new| Arc::ptr_eq(&new.senders, &old.senders)) {
                core.keeper.let_go(&old.senders);
            }
        }
        let now = Instant::now();
        core.house.rate.set(self.config.dispatcher.rate_limit.as_ref(), now);
        core.house.pools.set_bounds(&self.config.decided);
        for source in &self.sources {
            source.rate.set(source.config.rate_limit.as_ref(), now);
            source.assigned.assign(&core.house.pools.of(self.config, &source.config).hallway);
            for id in source.running.iter().flat_map(|running| &running.domains) {
                if let Some(domain) = core.house.domains.get(*id) {
                    domain.plan.store(Arc::clone(&source.plan));
                }
            }
        }
        for (domain, plan) in self.plans.drain(..) {
            domain.plan.store(Arc::new(plan));
        }
        for sink in &removed {
            let view = &mut self.view.sinks[sink.row];
            (view.sink, view.removed) = (None, true);
        }
        for source in &live.sources {
            let row = usize::from(source.id.0);
            self.view.sources[row].removed = !self.sources.iter().any(|new| new.id == source.id);
        }
        let outlet = |sink: &LiveSink| {
            let outlet = Outlet { sink: Arc::clone(&sink.sink), circuit: Arc::clone(&sink.circuit) };
            (sink.config.name.clone(), outlet)
        };
        core.outlets.set(self.sinks.iter().map(outlet).collect());
        live.retiring.extend(removed);
        live.letters = self.letters.take();
        live.repeats = self.repeats.take();
        live.leaving.append(&mut self.leaving);
        live.sinks = std::mem::take(&mut self.sinks);
        live.sources = std::mem::take(&mut self.sources);
        live.config = Arc::clone(self.config);
        live.ledger = Arc::new(std::mem::take(&mut self.ledger));
        self.view.ledger = Arc::clone(&live.ledger);
        core.house.view.store(Arc::new(std::mem::take(&mut self.view)));
        // Plans with others are gone, or go with their last block.
        core.ordered.retain(self.config, true);
        core.share_memory(live);
        core.enforce_quotas(&live.config);
        // Those that were told to end before the new ones begin: there is less at a time.
        live.leaving.iter().for_each(|leaving| leaving.running.ending.stop());
        self.go.say(true);
        for seat in self.prepared.drain(..) {
            live.intake.tell(move |intake| intake.decide(seat, true));
        }
        for opened in self.opened.drain(..).filter(|opened| !opened.seats.is_empty()) {
            let seats = opened.seats;
            live.intake.tell(move |intake| intake.begin(seats));
        }
        // Those that are to end, or to make room for others, may be resting.
        core.house.threads.cpu_limit().call();
    }
}

impl Drop for Stage<'_> {
    /// Takes back what was made ready.
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        self.go.say(false);
        self.core.enforce_quotas(&self.live.config);
        self.crews.iter().for_each(|(lane, crew, ..)| lane.dismiss(*crew));
        self.lanes.iter().for_each(|lane| lane.close());
        self.opened_sinks.iter().for_each(|sink| sink.stop());
        for seat in self.prepared.drain(..) {
            // An intake that is no more has nothing ready.
            let _ = self.live.intake.run(move |intake| intake.decide(seat, false));
        }
        for opened in self.opened.drain(..) {
            self.core.take_back(&mut self.live.intake, &opened);
        }
        if let Some(id) = self.made_repeats {
            self.core.house.domains.remove(id);
        }
        self.core.ordered.retain(&self.live.config, false);
    }
}
