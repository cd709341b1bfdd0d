//! Sockets on the loopback, an intake without a thread, and a house behind it that pops, looks, and settles.

use super::framed::Settings;
use super::listen::Listen;
use super::*;
use crate::ack::Status;
use crate::block::Blocks;
use crate::labels::{Labels, SourceId};
use crate::ledger::{Named, Reason, SourceLedger};
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::sources::inlet::{DomainId, Gate, Hallway, InletSpec, Shipment, Strategy};
use crate::thread::{Threads, WaitList};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

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
            hallway: Arc::clone(&self.hallway),
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
        source: SourceId(0),
        listen: vec![
            Listen::Tcp("127.0.0.1:0".parse().unwrap()),
            Listen::Udp("127.0.0.1:0".parse().unwrap()),
        ],
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

#[test]
fn messages_cut_anywhere_arrive_whole_and_in_order_per_connection() {
    for (seed, block_entries) in [(1, 5), (2, 300), (3, 4096)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut house = House::new(100_000, block_entries);
        let (mut intake, tcp, _) = open(&house, settings());
        let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(tcp).unwrap()).collect();
        let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut bytes: Vec<Vec<u8>> = vec![Vec::new(); clients.len()];
        for (client, bytes) in clients.iter().zip(&mut bytes) {
            let texts = sent.entry(client.local_addr().unwrap().to_string()).or_default();
            for n in 0..300 {
                // Some longer than a short carry, most of ordinary length.
                let filling = if random.u8(..) < 8 { random.usize(4000..8000) } else { random.usize(0..200) };
                let text = format!("<13>message {n} {}", "x".repeat(filling));
                match random.u8(..3) {
                    0 => bytes.extend_from_slice(format!("{} {text}", text.len()).as_bytes()),
                    1 => bytes.extend_from_slice(format!("{text}\r\n").as_bytes()),
                    _ => bytes.extend_from_slice(format!("{text}\n").as_bytes()),
                }
                texts.push(text);
            }
        }
        let mut at = vec![0; clients.len()];
        while let Some(which) =
            (0..clients.len()).filter(|c| at[*c] < bytes[*c].len()).min_by_key(|_| random.u32(..))
        {
            let end = bytes[which].len().min(at[which] + random.usize(1..3000));
            clients[which].write_all(&bytes[which][at[which]..end]).unwrap();
            at[which] = end;
            intake.turn(Instant::now());
            intake.wait(Next::Now);
            house.empty();
        }
        until_count(&mut intake, &mut house, 20 * 300);
        assert_eq!(house.came, sent, "seed {seed}");
        assert_eq!(house.ledger.row.received.get(), 6000);
        assert_eq!(house.ledger.row.streams.get(), 20);
        drop(clients);
        until(&mut intake, &mut house, |house| house.ledger.row.streams.get() == 0);
    }
}

#[test]
fn the_longest_message_in_many_small_pieces_arrives_whole() {
    let mut house = House::new(1000, 100);
    let longest = house.hallway.blocks.class(usize::MAX) - super::incoming::HEADROOM;
    let (mut intake, tcp, _) = open(&house, Settings { max_message: longest, ..settings() });
    let mut client = TcpStream::connect(tcp).unwrap();
    let text: String = (0..longest).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let all = format!("{longest} {text}{text}\r\n<1>short\n{longest} {text}{text}{text}\n");
    for piece in all.as_bytes().chunks(1777) {
        client.write_all(piece).unwrap();
        intake.turn(Instant::now());
        intake.wait(Next::Now);
        house.empty();
    }
    until_count(&mut intake, &mut house, 5);
    assert!(
        house.only().iter().enumerate().all(|(n, came)| *came == if n == 2 { "<1>short" } else { &text })
    );
    assert_eq!(house.cut, 1, "the last line was twice as long");
}

#[test]
fn a_quiet_intake_asks_for_no_further_turn() {
    let mut house = House::new(1000, 100);
    let settings = Settings { idle_timeout: Duration::ZERO, ..settings() };
    let (mut intake, tcp, _) = open(&house, settings);
    let now = Instant::now();
    assert_eq!(intake.turn(now), Next::Told);
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>one\n<2>tw").unwrap();
    until_count(&mut intake, &mut house, 1);
    settle_down(&mut intake, &mut house, Instant::now());
    assert_eq!(intake.turn(Instant::now()), Next::Told);
    assert_eq!(house.hallway.transit.used(), 0, "and holds no block");
}

#[test]
fn the_first_entry_after_a_pause_goes_at_once_and_the_next_ones_wait_for_company() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    let t0 = Instant::now() + Duration::from_secs(1);
    let mut say = |house: &mut House, text: &[u8], now: Instant| {
        client.write_all(text).unwrap();
        // The bytes are in our socket: loopback delivers within the call. One turn to accept, one to read.
        let next = (0..4)
            .map(|_| {
                intake.wait(Next::Now);
                intake.turn(now)
            })
            .last()
            .unwrap();
        house.empty();
        next
    };
    say(&mut house, b"<1>one\n", t0);
    assert_eq!(house.count(), 1);
    let due = t0 + filler::PACE;
    assert_eq!(say(&mut house, b"<1>two\n", t0 + Duration::from_millis(1)), Next::At(due));
    say(&mut house, b"<1>three\n", t0 + Duration::from_millis(2));
    assert_eq!(house.count(), 1);
    say(&mut house, b"", due);
    assert_eq!((house.count(), house.blocks), (3, 2));
}

#[test]
fn connections_beyond_the_limits_are_closed_and_counted_and_the_others_live() {
    for limits in [
        Settings { max_connections: 2, ..settings() },
        Settings { max_connections_per_address: 2, ..settings() },
    ] {
        let mut house = House::new(1000, 100);
        let (mut intake, tcp, _) = open(&house, limits);
        let mut clients: Vec<_> = (0..4).map(|_| TcpStream::connect(tcp).unwrap()).collect();
        let ledger = Arc::clone(&house.ledger.row);
        until(&mut intake, &mut house, |_| ledger.refused_connections.get() == 2);
        assert!(is_closed(&mut clients[2]) && is_closed(&mut clients[3]));
        assert_eq!(ledger.streams.get(), 2);
        clients[0].write_all(b"<1>alive\n").unwrap();
        until_count(&mut intake, &mut house, 1);
        // Room that is given back can be had again.
        drop(clients.remove(0));
        until(&mut intake, &mut house, |_| ledger.streams.get() == 1);
        clients.push(TcpStream::connect(tcp).unwrap());
        until(&mut intake, &mut house, |_| ledger.streams.get() == 2);
    }
}

#[test]
fn silent_and_dripping_connections_are_closed_and_what_they_had_sent_is_kept() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let [mut silent, mut dripping, mut lively] = [(); 3].map(|()| TcpStream::connect(tcp).unwrap());
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.streams.get() == 3);
    let t0 = Instant::now();
    for second in 0..80 {
        let now = t0 + Duration::from_secs(second);
        if second < 50 {
            dripping.write_all(b"z").unwrap();
        }
        if second % 20 == 0 {
            lively.write_all(b"<1>here\n").unwrap();
        }
        settle_down(&mut intake, &mut house, now);
        if second == 59 {
            assert_eq!(ledger.streams.get(), 3);
        }
    }
    assert_eq!(ledger.streams.get(), 1);
    assert!(is_closed(&mut silent) && is_closed(&mut dripping));
    let drops = &house.came[&dripping.local_addr().unwrap().to_string()];
    assert_eq!(*drops, ["z".repeat(50)]);
    assert_eq!(house.came[&lively.local_addr().unwrap().to_string()].len(), 4);
}

#[test]
fn time_in_which_we_did_not_read_makes_nobody_idle() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>begun").unwrap();
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.streams.get() == 1);
    let t0 = Instant::now();
    settle_down(&mut intake, &mut house, t0);
    house.gate.close();
    settle_down(&mut intake, &mut house, t0 + Duration::from_secs(1));
    client.write_all(b" and").unwrap();
    settle_down(&mut intake, &mut house, t0 + Duration::from_secs(1000));
    house.gate.open();
    settle_down(&mut intake, &mut house, t0 + Duration::from_secs(1010));
    settle_down(&mut intake, &mut house, t0 + Duration::from_secs(1069));
    assert_eq!(ledger.streams.get(), 1);
    client.write_all(b" done\n").unwrap();
    until_count(&mut intake, &mut house, 1);
    assert_eq!(house.only(), ["<1>begun and done"]);
}

#[test]
fn unfinished_messages_beyond_their_memory_cost_the_longest_its_connection() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) =
        open(&house, Settings { max_message: 100_000, partial_memory: 64 << 10, ..settings() });
    let [mut small, mut large, mut other] = [(); 3].map(|()| TcpStream::connect(tcp).unwrap());
    small.write_all(b"<1>small").unwrap();
    other.write_all(&[b'o'; 20_000]).unwrap();
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.streams.get() == 3);
    settle_down(&mut intake, &mut house, Instant::now());
    assert_eq!(house.count(), 0);
    large.write_all(&[b'l'; 60_000]).unwrap();
    until(&mut intake, &mut house, |_| ledger.streams.get() == 2);
    assert!(is_closed(&mut large));
    small.write_all(b" but whole\n").unwrap();
    other.write_all(b"\n").unwrap();
    until_count(&mut intake, &mut house, 3);
    assert_eq!(house.came[&small.local_addr().unwrap().to_string()], ["<1>small but whole"]);
    assert_eq!(house.came[&other.local_addr().unwrap().to_string()][0].len(), 20_000);
    let kept = &house.came[&large.local_addr().unwrap().to_string()][0];
    assert!(kept.len() > 20_000 && kept.bytes().all(|byte| byte == b'l'), "what had come is handed in");
}

#[test]
fn a_message_too_long_is_cut_and_a_count_too_large_ends_the_connection() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, udp) = open(&house, Settings { max_message: 100, ..settings() });
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(format!("{}\n<1>next\n101 <1>x", "y".repeat(300)).as_bytes()).unwrap();
    until_count(&mut intake, &mut house, 2);
    assert!(is_closed(&mut client));
    assert_eq!(*house.only(), ["y".repeat(100), "<1>next".into()]);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(&[b'u'; 101], udp).unwrap();
    until_count(&mut intake, &mut house, 3);
    assert_eq!(house.came[&Listen::Udp(udp).to_string()], ["u".repeat(100)]);
    assert_eq!((house.cut, house.ledger.row.cut.get()), (2, 2));
}

#[test]
fn a_burst_of_datagrams_arrives_in_order_or_is_counted_by_the_kernel() {
    let mut house = House::new(100_000, 300);
    let (mut intake, _, udp) = open(&house, settings());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent = 20_000;
    for n in 0..sent {
        sender.send_to(format!("<13>datagram {n}\n").as_bytes(), udp).unwrap();
        if n % 5000 == 4999 {
            settle_down(&mut intake, &mut house, Instant::now());
        }
    }
    until(&mut intake, &mut house, |house| {
        house.empty();
        house.count() + house.ledger.row.kernel_drops.get() as usize == sent
    });
    let number = |text: &String| text.strip_prefix("<13>datagram ").map(|n| n.parse::<usize>().unwrap());
    assert!(house.only().iter().map(number).is_sorted_by(|a, b| a < b));
    let dropped = house.ledger.row.kernel_drops.get() as usize;
    assert!(dropped > 0 && dropped < sent, "5,000 small datagrams do not fit 1 MiB of kernel memory");
}

#[test]
fn last_words_and_goodbye_in_one_event_are_both_heard() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>first\n").unwrap();
    until_count(&mut intake, &mut house, 1);
    client.write_all(b"<1>second\n<1>third").unwrap();
    drop(client);
    let ledger = Arc::clone(&house.ledger.row);
    let mut texts = Vec::new();
    until(&mut intake, &mut house, |house| {
        while let Some(shipment) = house.hallway.ring.pop() {
            texts.extend_from_slice(shipment.block.text());
            house.held.push(shipment);
        }
        house.settle();
        ledger.streams.get() == 0 && ledger.received.get() == 3
    });
    assert_eq!(texts, b"<1>second\n<1>third\n", "the last line ends like the others");
}

#[test]
fn datagrams_stand_in_the_text_as_lines() {
    let mut house = House::new(1000, 100);
    let (mut intake, _, udp) = open(&house, settings());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [&b"<1>one"[..], b"<2>two\r\n", b"", b"<3>three\0"] {
        sender.send_to(datagram, udp).unwrap();
    }
    let now = Instant::now();
    intake.turn(now);
    let shipment = house.hallway.ring.pop().unwrap();
    assert_eq!(shipment.block.text(), b"<1>one\n<2>two\n<3>three\n");
    house.held.push(shipment);
    house.settle();
}

#[test]
fn a_full_house_stops_its_source_alone_and_nothing_is_lost() {
    let (mut full, mut other) = (House::new(50, 10), House::new(10_000, 10));
    let mut intake = Intake::new(Arc::clone(&full.ending)).unwrap();
    let listen = |bound: Vec<Listen>| match bound[..] {
        [Listen::Tcp(tcp), _] => tcp,
        _ => panic!("{bound:?}"),
    };
    let full_tcp = listen(intake.add_syslog(settings(), full.spec()).unwrap());
    let other_tcp = listen(intake.add_syslog(settings(), other.spec()).unwrap());
    let sent: Vec<String> = (0..5000).map(|n| format!("<13>message {n} {}", "x".repeat(100))).collect();
    let all = sent.iter().map(|text| format!("{text}\n")).collect::<String>();
    let mut client = TcpStream::connect(full_tcp).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut written = 0;
    // Nobody takes anything out: the source stops, then the sender does.
    for _ in 0..1000 {
        written += client.write(&all.as_bytes()[written..]).unwrap_or(0);
        intake.turn(Instant::now());
        intake.wait(Next::Now);
    }
    full.take();
    assert_eq!(full.count(), 50);
    assert!(full.ledger.row.blocked.get() > 0);
    let blocked = full.ledger.row.blocked.get();
    let mut second = TcpStream::connect(other_tcp).unwrap();
    second.write_all(b"<1>goes on\n").unwrap();
    until_count(&mut intake, &mut other, 1);
    assert!(full.ledger.row.blocked.get() - blocked < 10, "it does not knock all the time");
    until(&mut intake, &mut full, |house| {
        written += client.write(&all.as_bytes()[written..]).unwrap_or(0);
        house.settle();
        house.take();
        house.count() == sent.len()
    });
    assert_eq!(full.only(), sent);
    assert_eq!(full.ledger.row.received.get(), sent.len() as u64);
}

#[test]
fn datagrams_wait_in_the_kernel_while_the_house_is_full() {
    let mut house = House::new(50, 10);
    let (mut intake, _, udp) = open(&house, settings());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent: Vec<String> = (0..1000).map(|n| format!("<13>datagram {n}")).collect();
    for text in &sent {
        sender.send_to(text.as_bytes(), udp).unwrap();
    }
    for _ in 0..10 {
        intake.turn(Instant::now());
        intake.wait(Next::Now);
    }
    house.take();
    assert_eq!(house.count(), 50);
    until(&mut intake, &mut house, |house| {
        house.settle();
        house.take();
        house.count() == sent.len()
    });
    assert_eq!(house.only(), sent);
    assert_eq!(house.ledger.row.kernel_drops.get(), 0);
}

#[test]
fn what_arrived_before_the_stop_is_delivered_unfinished_messages_too() {
    let mut house = House::new(10_000, 100);
    let (mut intake, tcp, udp) = open(&house, settings());
    let mut early = TcpStream::connect(tcp).unwrap();
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.streams.get() == 1);
    early.write_all(&b"<1>line\n".repeat(1000)).unwrap();
    early.write_all(b"<1>unfinished").unwrap();
    // Connected, sent and gone, and not even accepted yet.
    let mut gone = TcpStream::connect(tcp).unwrap();
    gone.write_all(b"<1>hello\n<1>bye").unwrap();
    drop(gone);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"<1>datagram", udp).unwrap();
    house.ending.stop();
    let waiting = Arc::clone(&house.ending);
    until(&mut intake, &mut house, |house| {
        house.take();
        waiting.wait_shipped(Instant::now())
    });
    assert!(!intake.has_ended(), "it waits for what is on its way");
    house.settle();
    intake.wait(Next::Told);
    intake.turn(Instant::now());
    assert!(intake.has_ended());
    assert_eq!(house.count(), 1004);
    let texts: Vec<_> = house.came.values().filter_map(|texts| texts.last()).collect();
    assert!(
        ["<1>unfinished", "<1>bye", "<1>datagram"].iter().all(|last| texts.iter().any(|text| text == last))
    );
    assert!(TcpStream::connect(tcp).is_err(), "the port is free");
    assert!(is_closed(&mut early));
}

#[test]
fn a_sender_that_never_stops_holds_the_end_up_for_a_second_at_most() {
    let mut house = House::new(1_000_000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.set_nonblocking(true).unwrap();
    client.write_all(b"<1>one\n").unwrap();
    until_count(&mut intake, &mut house, 1);
    house.ending.stop();
    house.gate.close();
    let t0 = Instant::now();
    client.write_all(b"<1>not read any more\n").unwrap();
    assert!(matches!(intake.turn(t0), Next::At(_)));
    assert!(!house.ending.wait_shipped(Instant::now()));
    intake.turn(t0 + Duration::from_millis(999));
    assert!(!house.ending.wait_shipped(Instant::now()));
    intake.turn(t0 + Duration::from_secs(1));
    assert!(house.ending.wait_shipped(Instant::now()));
}

#[test]
fn leaving_counts_what_was_received_and_never_shipped() {
    let mut house = House::new(1, 10);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>taken\n").unwrap();
    until(&mut intake, &mut house, |house| {
        house.take();
        house.count() == 1
    });
    client.write_all(b"<1>stuck\n<1>stuck too\n").unwrap();
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.blocked.get() > 0);
    house.ending.stop();
    house.ending.leave();
    intake.turn(Instant::now());
    assert!(intake.has_ended());
    assert!(house.ending.wait_shipped(Instant::now()));
    assert_eq!((ledger.received.get(), ledger.dropped.get(Reason::Failed)), (3, 2));
}

#[test]
fn the_thread_sleeps_until_told_and_ends_when_all_is_settled() {
    let mut house = House::new(1000, 100);
    let (intake, tcp, _) = open(&house, settings());
    let thread = Threads::default().spawn("intake", &[], move |row| intake.run(row)).unwrap();
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>one\n<1>tw").unwrap();
    client.write_all(b"o\n").unwrap();
    drop(client);
    house.ending.stop();
    assert!(house.ending.wait_shipped(Instant::now() + Duration::from_secs(20)));
    house.empty();
    thread.join().unwrap();
    assert_eq!(house.only(), ["<1>one", "<1>two"]);
    assert_eq!(house.ledger.row.in_transit.get(), 0);
}

#[test]
fn a_source_that_cannot_listen_says_which_and_why() {
    let house = House::new(10, 10);
    let (mut intake, tcp, _) = open(&house, settings());
    let again = Settings { listen: vec![Listen::Tcp(tcp)], ..settings() };
    let error = intake.add_syslog(again, house.spec()).unwrap_err();
    assert_eq!(error.to_string(), format!("source app: cannot listen on tcp://{tcp}: address in use"));
    let huge = Settings { max_message: 1 << 20, ..settings() };
    assert_eq!(intake.add_syslog(huge, house.spec()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
