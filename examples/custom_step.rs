//! A step of a program's own: it reads a duration out of the text into fields of its own, takes out what was fast, and
//! says what it cannot read.
//!
//! `cargo run --example custom_step` writes `data/custom_step/slow.log`.

use ringmain::block::Block;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher, Stats};
use ringmain::entry::{Field, Kind};
use ringmain::sinks::config::{FileSinkConfig, Format, SinkKind};
use ringmain::sources::submit::LogEntry;
use ringmain::steps::{Step, StepError, Verdict};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Keeps entries whose `took=...ms` is at least so much, and gives them the number as a field.
struct Slow {
    at_least_ms: u64,
}

impl Step for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    /// Called by any worker, for any entry, in any order: what it knows is the entry, and what it was made with.
    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let text = String::from_utf8_lossy(block.view(index).text());
        let Some((_, rest)) = text.split_once("took=") else { return Ok(Verdict::Keep) };
        // An entry with an error goes on as it is, and is counted.
        let ms = rest.split_once("ms").and_then(|(number, _)| number.parse::<u64>().ok());
        let ms = ms.ok_or(StepError::Malformed("`took` is no number of milliseconds"))?;
        if ms < self.at_least_ms {
            return Ok(Verdict::Discard);
        }
        // Names and values lie in the block's arena, which is given back with the block.
        let (key, value) = (block.store(b"took_ms")?, block.store(ms.to_string().as_bytes())?);
        block.set_field(index, Field::new(key, value, Kind::Number))?;
        Ok(Verdict::Keep)
    }

    /// So that the steps before it leave room beside their fields.
    fn adds_fields(&self) -> usize {
        1
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = ConfigBuilder::new().data_dir("data/custom_step/state").build()?;
    let mut dispatcher = Dispatcher::new(config);
    let file = FileSinkConfig { format: Format::Json, ..FileSinkConfig::at("data/custom_step/slow.log") };
    dispatcher.add_sink("slow", SinkKind::File(file)).add_step(Arc::new(Slow { at_least_ms: 100 }));
    dispatcher.start()?;
    let messages = ["GET / took=3ms", "GET /report took=2100ms", "started", "GET /x took=long"];
    for message in messages {
        dispatcher.submit(LogEntry::new(message).label("service", "demo"))?;
    }
    let is_done = |stats: Stats| stats.received == messages.len() as u64 && stats.in_flight == 0;
    while !is_done(dispatcher.stats()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for step in &dispatcher.snapshot().sources[0].steps {
        let last = step.last_error.as_deref().unwrap_or("none");
        println!(
            "{}: {} entries, {} taken out, errors: {}, {last}",
            step.verb, step.entries, step.discarded, step.errors
        );
    }
    dispatcher.stop(Duration::from_secs(10));
    print!("{}", std::fs::read_to_string("data/custom_step/slow.log")?);
    Ok(())
}
