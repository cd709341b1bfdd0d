//! Senders of syslog over TCP. The protocol has no answers: nothing is promised of what was written, and how much of it
//! is lost is measured.

use super::{Generators, Plan};
use crate::entry::{Sizes, Stream};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

const HEAD: &str = "<13>1 2026-01-02T03:04:05Z host app - - - ";

/// Starts `count` connections to the address, opened again when they break. Each is a stream of its own.
///
/// With `oblige` everything written has to arrive: right only where the product is not killed.
pub fn start(plan: &Plan, to: SocketAddr, count: u32, oblige: bool, into: &mut Generators) {
    let streams = Arc::new(AtomicU32::new(0));
    for _ in 0..count {
        let (plan, streams) = (plan.clone(), Arc::clone(&streams));
        let mut open: Option<(TcpStream, Stream, u64)> = None;
        into.start(plan.rate, move |due| {
            if open.is_none() {
                open = TcpStream::connect_timeout(&to, Duration::from_millis(200)).ok().map(|tcp| {
                    tcp.set_write_timeout(Some(Duration::from_secs(30))).expect("set");
                    (tcp, Stream { way: 't', number: streams.fetch_add(1, SeqCst) }, 0)
                });
            }
            let Some((tcp, stream, next)) = &mut open else { return 0 };
            let numbers = *next..*next + due;
            let text = plan.text(*stream, numbers.clone(), Sizes::Mixed, HEAD, "\n");
            *next += due;
            plan.obligations.sent(*stream, numbers.clone(), text.len());
            match tcp.write_all(text.as_bytes()) {
                Ok(()) if oblige => plan.obligations.oblige(*stream, numbers),
                Ok(()) => {}
                Err(_) => open = None,
            }
            due
        });
    }
}
