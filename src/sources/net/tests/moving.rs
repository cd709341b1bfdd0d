//! What arrives is whole, in order and on time, and waits when there is no room.

use super::*;

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
fn a_source_stops_at_the_high_watermark_and_goes_on_at_the_low_one() {
    struct Bell(std::sync::atomic::AtomicUsize);
    impl Wake for Bell {
        fn wake(&self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let house = House::new(100, 10);
    let bell = Arc::new(Bell(Default::default()));
    let rung = || bell.0.load(std::sync::atomic::Ordering::Relaxed);
    let mut inlet = crate::sources::inlet::Inlet::<()>::new(house.spec(), bell.clone());
    let credits = &house.hallway.credits;
    credits.take(79, 0).unwrap();
    assert!(inlet.may_read());
    credits.take(1, 0).unwrap();
    assert!(!inlet.may_read() && !inlet.may_read());
    house.hallway.give_back(19, 0);
    assert!(!inlet.may_read() && rung() == 0, "61 are above the low mark");
    house.hallway.give_back(1, 0);
    assert!(inlet.may_read() && rung() == 1);
    assert_eq!(house.ledger.row.blocked.get(), 1, "it was stopped once");
}
