//! What closes a connection, and how a source ends.

use super::*;

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
    assert_eq!(intake.turn(t0 + Duration::from_secs(1000)), Next::Told, "nor keeps the thread awake");
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
    let mut house = House::new(3, 10);
    let (mut intake, tcp, _) = open(&house, settings());
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>taken\n").unwrap();
    until(&mut intake, &mut house, |house| {
        house.take();
        house.count() == 1
    });
    client.write_all(b"<1>stuck\n<1>stuck too\n<1>and a third\n").unwrap();
    let ledger = Arc::clone(&house.ledger.row);
    until(&mut intake, &mut house, |_| ledger.blocked.get() > 0);
    house.ending.stop();
    house.ending.leave();
    intake.turn(Instant::now());
    assert!(intake.has_ended());
    assert!(house.ending.wait_shipped(Instant::now()));
    assert_eq!((ledger.received.get(), ledger.dropped.get(Reason::Failed)), (4, 3));
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
