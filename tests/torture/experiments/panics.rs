//! Steps and sinks panic. The binary has no step that does, so this runs in the rig's own process, by the library.

use super::Context;
use crate::check::{Receipts, compare_to};
use crate::entry::{self, Kind, Sizes, Stream};
use crate::generate::Plan;
use crate::support;
use ringmain::batch::Batch;
use ringmain::block::Block;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::{SendError, Sink};
use ringmain::sources::submit::LogEntry;
use ringmain::steps::{Step, StepError, Verdict};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Once};
use std::time::Duration;

/// Panics at every poisoned entry.
struct Trap;

impl Step for Trap {
    fn name(&self) -> &'static str {
        "trap"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        assert!(!block.view(index).text().windows(8).any(|word| word == b" poison "), "poison");
        Ok(Verdict::Keep)
    }
}

/// Takes entries, and panics at every fifth batch before it does.
struct Shaky {
    run: u32,
    receipts: Receipts,
    batches: AtomicU32,
}

impl Sink for Shaky {
    fn kind(&self) -> &'static str {
        "shaky"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        assert!(self.batches.fetch_add(1, SeqCst) % 5 != 4, "a fifth batch");
        for entry in batch.iter() {
            self.receipts.take(1, &[(entry::read(self.run, entry.text()), entry.text())]);
        }
        Ok(())
    }
}

/// R22.
pub fn panics(context: &mut Context) {
    quiet();
    let dir = tempfile::tempdir().expect("a directory");
    let run = context.random.u32(..);
    let plan = Plan { run, obligations: Arc::default(), rate: 0, poison_every: 100 };
    let sink = Arc::new(Shaky { run, receipts: Receipts::default(), batches: AtomicU32::new(0) });
    let config = ConfigBuilder::new().data_dir(dir.path().join("state")).workers(2).change(|general| {
        general.dispatcher.retry_backoff = Duration::from_millis(1);
        general.dispatcher.batch_timeout = Duration::from_millis(10);
    });
    let mut dispatcher = Dispatcher::new(config.build().expect("a config"));
    dispatcher.add_sink("shaky", Arc::clone(&sink)).add_step(Arc::new(Trap));
    dispatcher.start().expect("it starts");
    let each = context.times(5_000, 250_000);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (plan, submitter) = (&plan, dispatcher.submitter().expect("it runs"));
            scope.spawn(move || {
                let stream = Stream { way: 'p', number };
                for number in 0..each {
                    let text = plan.text(stream, number..number + 1, Sizes::Short, "", "");
                    plan.obligations.sent(stream, number..number + 1, text.len());
                    submitter.submit(LogEntry::new(text)).expect("it is taken");
                    plan.obligations.oblige(stream, number..number + 1);
                }
            });
        }
    });
    let ended = dispatcher.stop(Duration::from_secs(60)).expect("it ends");
    let poisoned = plan.obligations.count(|stream, number| plan.id(stream, number).kind == Kind::Poison);
    let state = dir.path().join("state");
    let (code, text, said) =
        support::run(dir.path(), &["dlq", "export", "--data-dir", state.to_str().expect("text")]);
    assert_eq!(code, 0, "{said}");
    let letters = Receipts::default();
    for line in text.lines() {
        letters.take(0, &[(entry::read(run, line.as_bytes()), line.as_bytes())]);
    }
    let findings = compare_to(&plan.obligations, &[&sink.receipts, &letters]);
    let row = &mut context.row;
    row.times = poisoned;
    // The letters are another place: an order between the two says nothing.
    row.add(&crate::check::Findings { inverted: 0, ..findings });
    row.require_once();
    row.require(letters.taken() == poisoned, || {
        format!("{} letters, {poisoned} entries panicked", letters.taken())
    });
    let plain = plan.obligations.sent_count() - poisoned;
    row.require(ended.delivered == plain, || format!("{} delivered, {plain} were plain", ended.delivered));
    row.note(format!("{} attempts of the sink, a fifth of them panicked", sink.batches.load(SeqCst)));
}

/// Panics that are made on purpose are not shown.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let said = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
            if said != "poison" && said != "a fifth batch" {
                usual(panic);
            }
        }));
    });
}
