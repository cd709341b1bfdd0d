//! TLS and unix sockets: what comes over them is like what comes over TCP, and who stalls stalls only himself.

use super::*;
use crate::tls::testing::{Authority, EXPIRED, VALID, client, connect, session};
use crate::tls::{ServerTls, ServerTlsKeys};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;

/// A server's identity in a directory.
struct Secure {
    _dir: tempfile::TempDir,
    authority: Authority,
    tls: Arc<ServerTls>,
}

fn secure(mutual: bool) -> Secure {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let (cert, key) = authority.sign("server", VALID).write(dir.path(), "server");
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let keys = ServerTlsKeys { cert, key, client_ca: mutual.then_some(ca) };
    let tls = ServerTls::load(&keys, "source app").unwrap();
    Secure { _dir: dir, authority, tls }
}

/// An intake that listens with TLS, and without.
fn open_secure(house: &House, secure: &Secure) -> (Intake, SocketAddr, SocketAddr) {
    let any = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        listen: vec![Listen::Tls(any), Listen::Tcp(any)],
        tls: Some(Arc::clone(&secure.tls)),
        ..settings()
    };
    let mut intake = Intake::new(Arc::clone(&house.ending)).unwrap();
    match intake.add_syslog(settings, house.spec()).unwrap()[..] {
        [Listen::Tls(tls), Listen::Tcp(tcp)] => (intake, tls, tcp),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn messages_over_tls_arrive_whole_and_in_order_per_connection() {
    let (mut house, secure) = (House::new(100_000, 300), secure(false));
    let (mut intake, tls, _) = open_secure(&house, &secure);
    let config = client(&secure.authority, None);
    let senders: Vec<_> = (0..8u64)
        .map(|seed| {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut stream = connect(&config, tls).unwrap();
                let (mut texts, mut bytes) = (Vec::new(), Vec::new());
                for n in 0..500 {
                    let filling =
                        if random.u8(..) < 8 { random.usize(4000..8000) } else { random.usize(0..200) };
                    let text = format!("<13>message {n} {}", "x".repeat(filling));
                    // RFC 5425, 4.3: octet counting.
                    bytes.extend_from_slice(format!("{} {text}", text.len()).as_bytes());
                    texts.push(text);
                }
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(rest.len().min(random.usize(1..30_000)));
                    stream.write_all(piece).unwrap();
                    stream.flush().unwrap();
                    rest = after;
                }
                let from = stream.sock.local_addr().unwrap().to_string();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                (from, texts)
            })
        })
        .collect();
    until_count(&mut intake, &mut house, 8 * 500);
    let sent: BTreeMap<_, _> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    assert_eq!(house.came, sent);
    until(&mut intake, &mut house, |house| house.ledger.row.streams.get() == 0);
    assert_eq!(house.ledger.row.broken_connections.get(), 0);
}

#[test]
fn a_handshake_that_stalls_or_drips_is_broken_off_and_good_clients_go_on() {
    let (mut house, secure) = (House::new(1000, 100), secure(false));
    let (mut intake, tls, _) = open_secure(&house, &secure);
    let ledger = Arc::clone(&house.ledger.row);
    let mut silent = TcpStream::connect(tls).unwrap();
    let mut dripping = TcpStream::connect(tls).unwrap();
    let mut hello = Vec::new();
    session(&client(&secure.authority, None)).write_tls(&mut hello).unwrap();
    let mut drops = hello.iter();
    dripping.write_all(&[*drops.next().unwrap()]).unwrap();
    let config = client(&secure.authority, None);
    let good = thread::spawn(move || connect(&config, tls).unwrap());
    until(&mut intake, &mut house, |_| ledger.streams.get() == 3 && good.is_finished());
    let mut good = good.join().unwrap();
    let start = Instant::now();
    for second in 1..=9 {
        dripping.write_all(&[*drops.next().unwrap()]).unwrap();
        good.write_all(format!("<1>second {second}\n").as_bytes()).unwrap();
        until_count(&mut intake, &mut house, second);
        intake.turn(start + Duration::from_secs(second as u64));
        assert_eq!((ledger.streams.get(), ledger.broken_connections.get()), (3, 0));
    }
    // Its silent looks are a quarter of the deadline apart.
    for second in 10..14 {
        settle_down_at(&mut intake, &mut house, start + Duration::from_secs(second));
    }
    assert_eq!((ledger.streams.get(), ledger.broken_connections.get()), (1, 2));
    assert!(is_closed(&mut silent) && is_closed(&mut dripping));
    good.write_all(b"<1>still here\n").unwrap();
    until_count(&mut intake, &mut house, 10);
}

/// A few turns at `now`.
fn settle_down_at(intake: &mut Intake, house: &mut House, now: Instant) {
    for _ in 0..5 {
        intake.wait(Next::Now);
        intake.turn(now);
        house.empty();
    }
}

#[test]
fn handshakes_of_a_crowd_leave_room_for_others_in_every_turn() {
    let (mut house, secure) = (House::new(1000, 100), secure(false));
    let (mut intake, tls, tcp) = open_secure(&house, &secure);
    let ledger = Arc::clone(&house.ledger.row);
    let config = client(&secure.authority, None);
    let mut crowd: Vec<_> = (0..30).map(|_| (TcpStream::connect(tls).unwrap(), session(&config))).collect();
    let mut plain = TcpStream::connect(tcp).unwrap();
    until(&mut intake, &mut house, |_| ledger.streams.get() == 31);
    for (socket, session) in &mut crowd {
        session.write_tls(socket).unwrap();
    }
    plain.write_all(b"<1>among the crowd\n").unwrap();
    let answered = |crowd: &mut [(TcpStream, rustls::ClientConnection)]| {
        let has_answer = |socket: &TcpStream| {
            socket.set_nonblocking(true).unwrap();
            socket.peek(&mut [0]).is_ok()
        };
        crowd.iter().filter(|(socket, _)| has_answer(socket)).count()
    };
    // Two turns: the first events may be seen by the second only.
    for _ in 0..2 {
        intake.wait(Next::Now);
        intake.turn(Instant::now());
    }
    house.empty();
    assert_eq!(house.count(), 1, "who has no handshake to make is served at once");
    let first = answered(&mut crowd);
    assert!((1..=4).contains(&first), "{first} were answered in two turns");
    until(&mut intake, &mut house, |_| answered(&mut crowd) == 30);
}

#[test]
fn what_is_no_tls_or_has_no_good_certificate_is_closed_and_counted() {
    let (mut house, secure) = (House::new(1000, 100), secure(true));
    let (mut intake, tls, _) = open_secure(&house, &secure);
    let ledger = Arc::clone(&house.ledger.row);
    let mut plain = TcpStream::connect(tls).unwrap();
    plain.write_all(b"<13>Oct 11 22:14:15 host app: in the open\n").unwrap();
    until(&mut intake, &mut house, |_| ledger.broken_connections.get() == 1);
    let ours = secure.authority.sign("client", VALID);
    let shown = [
        None,
        Some(secure.authority.sign("client", EXPIRED)),
        Some(Authority::new("theirs").sign("client", VALID)),
        Some(ours),
    ];
    for (before, shown) in (1..).zip(shown) {
        let config = client(&secure.authority, shown.as_ref());
        let sender = thread::spawn(move || {
            // With TLS 1.3 the client is done before the server has judged its certificate.
            let mut stream = connect(&config, tls)?;
            stream.write_all(b"<1>hello\n")?;
            stream.flush()?;
            stream.sock.set_read_timeout(Some(Duration::from_millis(if before == 4 {
                1
            } else {
                20_000
            })))?;
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(stream),
                Err(error) => Err(error),
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        });
        until(&mut intake, &mut house, |house| {
            house.empty();
            sender.is_finished() && (ledger.broken_connections.get() > before || house.count() > 0)
        });
        assert_eq!(sender.join().unwrap().is_ok(), before == 4);
    }
    assert_eq!((ledger.broken_connections.get(), house.only()), (4, &["<1>hello".to_string()][..]));
}

#[test]
fn a_frame_that_cannot_be_closes_its_connection_and_is_counted() {
    let mut house = House::new(1000, 100);
    let (mut intake, tcp, _) = open(&house, settings());
    let ledger = Arc::clone(&house.ledger.row);
    let mut client = TcpStream::connect(tcp).unwrap();
    client.write_all(b"<1>good\n999999999 bad").unwrap();
    until(&mut intake, &mut house, |house| {
        house.empty();
        ledger.broken_connections.get() == 1 && house.count() == 1
    });
    assert!(is_closed(&mut client));
}

#[test]
fn processes_of_this_host_come_by_unix_sockets() {
    let (mut house, dir) = (House::new(10_000, 100), tempfile::tempdir().unwrap());
    let (stream, datagram) = (dir.path().join("stream"), dir.path().join("datagram"));
    let listen = vec![Listen::Unix(stream.clone()), Listen::Unixgram(datagram.clone())];
    let settings = Settings { listen: listen.clone(), max_connections_per_address: 2, ..settings() };
    let mut intake = Intake::new(Arc::clone(&house.ending)).unwrap();
    assert_eq!(intake.add_syslog(settings, house.spec()).unwrap(), listen);
    let mut clients = [UnixStream::connect(&stream).unwrap(), UnixStream::connect(&stream).unwrap()];
    // As syslog(3) ends its messages over a stream, as everyone else does, and counted.
    clients[0].write_all(b"<13>one\0<13>two\n9 <13>three<13>unfinished").unwrap();
    clients[1].write_all(b"<13>other\n").unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    let texts: Vec<_> = (0..5).map(|n| format!("<13>datagram {n}")).collect();
    for text in &texts {
        sender.send_to(text.as_bytes(), &datagram).unwrap();
    }
    until_count(&mut intake, &mut house, 3 + 1 + 5);
    let path = stream.display();
    assert_eq!(house.came[&format!("{path}#1")], ["<13>one", "<13>two", "<13>three"]);
    assert_eq!(house.came[&format!("{path}#2")], ["<13>other"]);
    assert_eq!(house.came[&listen[1].to_string()], texts);
    let ledger = Arc::clone(&house.ledger.row);
    let mut third = UnixStream::connect(&stream).unwrap();
    until(&mut intake, &mut house, |_| ledger.refused_connections.get() == 1);
    assert_eq!(third.read(&mut [0]).unwrap(), 0, "they count as one address");
    house.ending.stop();
    let waiting = Arc::clone(&house.ending);
    until(&mut intake, &mut house, |house| {
        house.empty();
        waiting.wait_shipped(Instant::now())
    });
    assert_eq!(house.came[&format!("{path}#1")].last().unwrap(), "<13>unfinished");
    assert!(!stream.exists() && !datagram.exists());
    drop(clients);
}
