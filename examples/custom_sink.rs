//! A sink and a step of a program's own: the step marks entries, the sink refuses some and is unwell for a while.
//!
//! `cargo run --example custom_sink`

use ringmain::batch::Batch;
use ringmain::block::Block;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::{SendError, Sink};
use ringmain::sources::submit::LogEntry;
use ringmain::steps::{Step, StepError, Verdict};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Prints what it gets, after failing twice.
#[derive(Default)]
struct Printer {
    attempts: AtomicUsize,
}

impl Sink for Printer {
    fn kind(&self) -> &'static str {
        "printer"
    }

    /// One attempt. What is worth another try says so; patience is the dispatcher's.
    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        // Relaxed: only counted.
        if self.attempts.fetch_add(1, Relaxed) < 2 {
            return Err(SendError::Retry { why: "still warming up".into(), after: None });
        }
        let mut refused = Vec::new();
        for (place, entry) in batch.iter().enumerate() {
            let text = String::from_utf8_lossy(entry.text());
            match text.contains("secret") {
                // This one only; the rest of the batch is taken.
                true => refused.push((place, "secrets are not printed".into())),
                false => println!("{}: {text}", entry.stream().labels.get("service").unwrap_or("?")),
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(SendError::Partial(refused)) }
    }

    fn is_healthy(&self) -> Result<(), String> {
        match self.attempts.load(Relaxed) {
            0..3 => Err("warming up".into()),
            _ => Ok(()),
        }
    }
}

/// Takes out what nobody wants to read.
struct NoNoise;

impl Step for NoNoise {
    fn name(&self) -> &'static str {
        "no_noise"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let noise = block.view(index).text().starts_with(b"ping");
        Ok(if noise { Verdict::Discard } else { Verdict::Keep })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = ConfigBuilder::new()
        .data_dir("data/custom_sink/state")
        .change(|general| general.dispatcher.retry_backoff = Duration::from_millis(50))
        .build()?;
    let mut dispatcher = Dispatcher::new(config);
    dispatcher.add_sink("printer", Arc::new(Printer::default())).add_step(Arc::new(NoNoise));
    dispatcher.start()?;
    for message in ["ping", "it works", "the secret is 42", "ping", "goodbye"] {
        dispatcher.submit(LogEntry::new(message).label("service", "demo"))?;
    }
    let ended = dispatcher.stop(Duration::from_secs(10));
    println!("{ended:?}");
    Ok(())
}
