//! Sockets on the loopback, an intake without a thread, and a house behind it that pops, looks, and settles.

use super::listen::Listen;
use super::settings::{Datagram, Settings};
use super::*;
use crate::ack::Status;
use crate::block::Blocks;
use crate::labels::{Labels, SourceId};
use crate::ledger::{Named, Reason, SourceLedger};
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::sources::inlet::{Assigned, DomainId, Drained, Gate, Hallway, InletSpec, Shipment, Strategy};
use crate::thread::{Threads, WaitList};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

mod limits;
mod moving;
mod wires;

/// What stands behind the sources: everything they share, and what came out, by stream.
pub(crate) struct House {
    pub(crate) hallway: Arc<Hallway>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ending: Arc<Ending>,
    pub(crate) ledger: Named<SourceLedger>,
    /// Shipments taken and not settled.
    held: Vec<Shipment>,
    pub(crate) came: BTreeMap<String, Vec<String>>,
    cut: usize,
    blocks: usize,
}

impl House {
    /// A house with room for `entries` in the ring, in blocks of at most `block_entries`.
    pub(crate) fn new(entries: usize, block_entries: usize) -> Self {
        let hallway = Hallway {
            ring: Ring::new(1024),
            credits: Credits::new(Amount { entries: entries as u64, bytes: 64 << 20 }, Watermarks::default()),
            freed: WaitList::default(),
            transit: Budget::new(64 << 20),
            blocks: Blocks::new(0),
            block_entries,
        };
        House {
            hallway: Arc::new(hallway),
            gate: Arc::default(),
            ending: Arc::default(),
            ledger: Named::new("app", "syslog"),
            held: Vec::new(),
            came: BTreeMap::new(),
            cut: 0,
            blocks: 0,
        }
    }

    pub(crate) fn spec(&self) -> InletSpec {
        InletSpec {
            domain: DomainId(0),
            source: self.ledger.clone(),
            strategy: Strategy::Block,
            gate: Arc::clone(&self.gate),
            assigned: Assigned::to(&self.hallway),
            drained: Drained::new(usize::MAX),
            limits: crate::sources::rate::Limits::default(),
        }
    }

    /// Takes what is in the ring and keeps it unsettled; its credits stay taken.
    fn take(&mut self) {
        while let Some(shipment) = self.hallway.ring.pop() {
            self.blocks += 1;
            let block = &shipment.block;
            assert!(block.entries().len() <= self.hallway.block_entries.max(1));
            assert_eq!(block.runs().last().map(|run| run.end as usize), Some(block.entries().len()));
            for at in 0..block.entries().len() {
                let view = block.view(at);
                let text = String::from_utf8_lossy(view.text()).into_owned();
                self.came.entry(view.stream().origin.to_string()).or_default().push(text);
                self.cut += usize::from(view.entry().flags & crate::entry::Entry::CUT != 0);
            }
            self.held.push(shipment);
        }
    }

    /// Settles what was taken and gives its credits back.
    fn settle(&mut self) {
        for shipment in self.held.drain(..) {
            let (entries, bytes) = shipment.credits;
            self.hallway.credits.give(entries as u64, bytes as u64);
            self.ledger.row.in_transit.sub(entries as u64);
            shipment.whole.settle(Status::Delivered);
        }
        self.hallway.freed.call();
    }

    pub(crate) fn empty(&mut self) {
        self.take();
        self.settle();
    }

    pub(crate) fn count(&self) -> usize {
        self.came.values().map(Vec::len).sum()
    }

    fn only(&self) -> &[String] {
        assert_eq!(self.came.len(), 1, "one stream: {:?}", self.came.keys());
        self.came.values().next().map_or(&[], |texts| texts)
    }
}

fn settings() -> Settings {
    Settings {
        open: crate::pool::Allowance::default(),
        source: SourceId(0),
        listen: vec![
            Listen::Tcp("127.0.0.1:0".parse().unwrap()),
            Listen::Udp("127.0.0.1:0".parse().unwrap()),
        ],
        tls: None,
        handshake_timeout: Duration::from_secs(10),
        socket_mode: 0o600,
        datagrams: Datagram::Message,
        max_connections: 100,
        max_connections_per_address: 100,
        idle_timeout: Duration::from_secs(60),
        max_message: 8192,
        partial_memory: 1 << 20,
        receive_buffer: 1 << 20,
        labels: Labels::default(),
    }
}

fn open(house: &House, settings: Settings) -> (Intake, SocketAddr, SocketAddr) {
    let mut intake = Intake::new(Arc::clone(&house.ending)).unwrap();
    match intake.add_syslog(settings, house.spec()).unwrap()[..] {
        [Listen::Tcp(tcp), Listen::Udp(udp)] => (intake, tcp, udp),
        ref other => panic!("{other:?}"),
    }
}

/// Turns and waits until `done`; fails when nothing comes of it.
fn until(intake: &mut Intake, house: &mut House, mut done: impl FnMut(&mut House) -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let now = Instant::now();
        assert!(now < patience, "waited in vain, {} came", house.count());
        let next = intake.turn(now);
        if done(house) {
            return;
        }
        intake.wait(next.min(Next::At(now + Duration::from_millis(20))));
    }
}

fn until_count(intake: &mut Intake, house: &mut House, count: usize) {
    until(intake, house, |house| {
        house.empty();
        house.count() >= count
    });
    assert_eq!(house.count(), count);
}

/// Turns until there is nothing more to do without news, all at time `now`.
fn settle_down(intake: &mut Intake, house: &mut House, now: Instant) {
    for _ in 0..200 {
        intake.wait(Next::Now);
        let next = intake.turn(now);
        house.empty();
        if next == Next::Told {
            return;
        }
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}
