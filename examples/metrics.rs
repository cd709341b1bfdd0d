//! The numbers of a dispatcher inside a program: a few of them, all of them, how each part is, and the same over HTTP.
//!
//! `cargo run --example metrics` prints them for four seconds, and serves `/metrics` meanwhile where it says.

use ringmain::admin::Status;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::config::{FileSinkConfig, SinkKind};
use ringmain::sources::submit::LogEntry;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port that is free now.
fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// What a Prometheus server would ask for.
fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = free()?;
    let config = ConfigBuilder::new()
        .data_dir("data/metrics/state")
        // Nothing listens unless it is said.
        .change(|general| general.admin.listen = Some(address))
        .build()?;
    let mut dispatcher = Dispatcher::new(config);
    dispatcher.add_sink("archive", SinkKind::File(FileSinkConfig::at("data/metrics/app.log")));
    dispatcher.start()?;
    println!("http://{address}/metrics");

    let begun = Instant::now();
    let mut said = begun;
    while begun.elapsed() < Duration::from_secs(4) {
        dispatcher.submit(LogEntry::new("something happened").label("service", "demo"))?;
        if said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            // A few numbers, for a line in the program's own log.
            let stats = dispatcher.stats();
            println!(
                "{} received, {} delivered, {} dropped, {} under way, {:.0} a second, {:?} on the way",
                stats.received,
                stats.delivered,
                stats.dropped,
                stats.in_flight,
                stats.throughput_per_second,
                stats.average_latency
            );
        }
    }

    // All of them: the same as `/stats`, as a struct, and as JSON if need be.
    let snapshot = dispatcher.snapshot();
    for sink in &snapshot.sinks {
        println!(
            "sink {}: {} batches, {} retries, {} errors",
            sink.name, sink.batches, sink.retries, sink.errors
        );
    }
    for quota in &snapshot.quotas {
        println!("{}: {:.1}, {:.1} at most", quota.name, quota.used.as_f64(), quota.peak.as_f64());
    }
    // How each part is, for the program's own health check.
    let health = dispatcher.health();
    println!("health: {:?}", health.status);
    for component in health.components.iter().filter(|component| component.status != Status::Ok) {
        println!("{}: {:?}", component.name, component.reason);
    }
    // As a server sees them that scrapes the process.
    for line in scrape(address)?.lines().filter(|line| line.starts_with("dispatcher_entries_")) {
        println!("{line}");
    }
    dispatcher.stop(Duration::from_secs(10));
    Ok(())
}
