//! Ringmain inside a program: a sink, entries with labels, a look at the numbers.
//!
//! `cargo run --example embed` writes `data/embed/app.log`.

use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::config::{FileSinkConfig, Format, SinkKind};
use ringmain::sources::submit::LogEntry;
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let config = ConfigBuilder::new()
        .queue_size(10_000)
        .workers(2)
        .batch_size(500)
        .batch_timeout(Duration::from_secs(1))
        .data_dir("data/embed/state")
        .build()?;
    let mut dispatcher = Dispatcher::new(config);
    let file = FileSinkConfig { format: Format::Json, ..FileSinkConfig::at("data/embed/app.log") };
    dispatcher.add_sink("archive", SinkKind::File(file));
    dispatcher.start()?;

    let greeting = LogEntry::new("hello from inside").label("service", "web-api").label("level", "info");
    dispatcher.submit(greeting.clone())?;
    for number in 1..=1000 {
        // The labels are shared, not copied.
        dispatcher.submit(LogEntry { message: format!("request {number} served"), ..greeting.clone() })?;
    }

    let stats = dispatcher.stats();
    println!("queue {:.1} % full", stats.queue_utilization * 100.0);
    println!("{:.0} entries per second", stats.throughput_per_second);
    println!("{:?} on the way, on average", stats.average_latency);
    if let Some(ended) = dispatcher.stop(Duration::from_secs(10)) {
        println!("{} received, {} delivered, {} not", ended.received, ended.delivered, ended.undelivered);
    }
    Ok(())
}
