//! Sessions over a wire in memory, cut anywhere; what is refused; and certificates that change.

use super::testing::{Authority, EXPIRED, VALID, client, client_of, session};
use super::*;
use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::rc::Rc;

/// The server's end of a wire, both directions of which are in sight.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Sides>>);

#[derive(Default)]
struct Sides {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// The client has closed its side.
    closed: bool,
    /// Most bytes the wire takes towards the client.
    room: Option<usize>,
    /// Reads since the test began.
    reads: usize,
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut sides = self.0.borrow_mut();
        sides.reads += 1;
        match sides.to_server.read(room)? {
            0 if !room.is_empty() && !sides.closed => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sides = self.0.borrow_mut();
        let room = sides.room.map_or(bytes.len(), |room| room.saturating_sub(sides.to_client.len()));
        match bytes.len().min(room) {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => sides.to_client.write(&bytes[..taken]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    /// Moves what the client has to say onto the wire, and what the server said to the client.
    fn exchange(&self, client: &mut ClientConnection) -> Result<(), rustls::Error> {
        let mut sides = self.0.borrow_mut();
        while client.wants_write() {
            client.write_tls(&mut sides.to_server).unwrap();
        }
        while !sides.to_client.is_empty() {
            client.read_tls(&mut sides.to_client).unwrap();
            client.process_new_packets()?;
        }
        while client.wants_write() {
            client.write_tls(&mut sides.to_server).unwrap();
        }
        Ok(())
    }
}

/// Authorities, and a server's files in a directory.
struct Bench {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { dir: tempfile::tempdir().unwrap(), authority: Authority::new("ours") };
        bench.authority.sign("server", VALID).write(bench.dir.path(), "server");
        fs::write(bench.dir.path().join("ca.pem"), bench.authority.pem()).unwrap();
        bench
    }

    fn keys(&self, mutual: bool) -> ServerTlsKeys {
        let path = |name: &str| self.dir.path().join(name);
        let client_ca = mutual.then(|| path("ca.pem"));
        ServerTlsKeys { cert: path("server.pem"), key: path("server.key"), client_ca }
    }

    fn server(&self, mutual: bool) -> Arc<ServerTls> {
        ServerTls::load(&self.keys(mutual), "source app").unwrap()
    }
}

/// Shakes hands over a wire; the server's reads have room for `room` bytes.
fn shake(
    server: &ServerTls,
    config: &Arc<ClientConfig>,
    room: usize,
) -> (Result<(), String>, Wire, Session<Wire>, ClientConnection) {
    let (wire, mut client) = (Wire::default(), session(config));
    let mut session = server.accept(wire.clone()).unwrap();
    let mut result = Ok(());
    for _ in 0..10 {
        let told = wire.exchange(&mut client);
        match session.read(&mut vec![0; room]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => result = Err(error.to_string()),
            Ok(read) => panic!("{read} bytes, and nothing was sent"),
        }
        if let Err(told) = told {
            result = Err(format!("{} / the client: {told}", result.err().unwrap_or_default()));
        }
    }
    (result, wire, session, client)
}

/// Everything the session has to give now, read in rooms of the given sizes, over and over.
fn read_all(session: &mut Session<Wire>, rooms: &[usize]) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    for room in rooms.iter().cycle() {
        let mut room = vec![0; *room];
        match session.read(&mut room) {
            Ok(0) => return (all, Ok(())),
            Ok(read) => all.extend_from_slice(&room[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock && session.has_more() => {}
            Err(error) => return (all, Err(error)),
        }
    }
    unreachable!("the rooms never end")
}

fn is_would_block(result: io::Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn what_is_sent_arrives_in_both_versions_and_directions() {
    let bench = Bench::new();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = client_of(&bench.authority, None, &[version]);
        let (result, wire, mut session, mut client) = shake(&bench.server(false), &config, 4096);
        assert_eq!(result, Ok(()));
        assert!(!session.is_handshaking() && !session.wants_write());
        assert!((1..=3).contains(&session.take_flights()) && session.take_flights() == 0);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n / 7) as u8).collect();
        client.set_buffer_limit(None);
        client.writer().write_all(&sent).unwrap();
        wire.exchange(&mut client).unwrap();
        let (came, end) = read_all(&mut session, &[64 << 10]);
        assert!(came == sent && is_would_block(end));
        assert_eq!(session.take_flights(), 0, "data is no handshake");
        session.write_all(b"answer").unwrap();
        wire.exchange(&mut client).unwrap();
        let mut answer = [0; 6];
        client.reader().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        client.send_close_notify();
        wire.exchange(&mut client).unwrap();
        assert!(read_all(&mut session, &[100]).1.is_ok(), "a goodbye is an end");
    }
}

#[test]
fn a_full_buffer_is_read_with_few_system_calls() {
    let bench = Bench::new();
    let (_, wire, mut session, mut client) =
        shake(&bench.server(false), &client(&bench.authority, None), 4096);
    client.set_buffer_limit(None);
    client.writer().write_all(&vec![7; 1 << 20]).unwrap();
    wire.exchange(&mut client).unwrap();
    wire.0.borrow_mut().reads = 0;
    assert_eq!(read_all(&mut session, &[64 << 10]).0.len(), 1 << 20);
    let reads = wire.0.borrow().reads;
    assert!(reads <= 2 * 16 + 2, "{reads} reads for 16 buffers");
}

#[test]
fn an_end_without_a_goodbye_gives_what_came_before_it() {
    let bench = Bench::new();
    let (_, wire, mut session, mut client) =
        shake(&bench.server(false), &client(&bench.authority, None), 4096);
    client.writer().write_all(b"last words").unwrap();
    wire.exchange(&mut client).unwrap();
    wire.0.borrow_mut().closed = true;
    let (came, end) = read_all(&mut session, &[4096]);
    assert_eq!((&came[..], end.is_ok(), session.failure()), (&b"last words"[..], true, None));
}

#[test]
fn a_damaged_record_ends_the_session_behind_what_came_before_it() {
    let bench = Bench::new();
    let (_, wire, mut session, mut client) =
        shake(&bench.server(false), &client(&bench.authority, None), 4096);
    client.writer().write_all(b"whole").unwrap();
    wire.exchange(&mut client).unwrap();
    client.writer().write_all(b"damaged").unwrap();
    wire.exchange(&mut client).unwrap();
    *wire.0.borrow_mut().to_server.back_mut().unwrap() ^= 1;
    let (came, end) = read_all(&mut session, &[4096]);
    assert_eq!(came, b"whole");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(session.failure().unwrap().starts_with("TLS: "), "{:?}", session.failure());
}

#[test]
fn a_slow_reader_bounds_what_is_kept_for_it() {
    let bench = Bench::new();
    let (_, wire, mut session, _) = shake(&bench.server(false), &client(&bench.authority, None), 4096);
    wire.0.borrow_mut().room = Some(1000);
    let mut taken = 0;
    let error = loop {
        match session.write(&[1; 10_000]) {
            Ok(more) => taken += more,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(taken < 128 << 10, "{taken} bytes kept");
    assert!(session.wants_write() && is_would_block(session.flush()));
    wire.0.borrow_mut().room = None;
    session.flush().unwrap();
    assert!(!session.wants_write() && wire.0.borrow().to_client.len() > taken);
}

#[test]
fn records_with_nothing_in_them_take_no_more_than_a_turn() {
    let bench = Bench::new();
    let (_, wire, mut session, mut client) =
        shake(&bench.server(false), &client(&bench.authority, None), 4096);
    for _ in 0..20_000 {
        client.refresh_traffic_keys().unwrap();
        wire.exchange(&mut client).unwrap();
    }
    let before = wire.0.borrow().to_server.len();
    assert!(before > 512 << 10);
    match session.read(&mut [0; 16 << 10]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => assert!(session.has_more()),
        other => assert!(other.is_err(), "rustls may refuse so many: {other:?}"),
    }
    assert!(wire.0.borrow().to_server.len() > 200 << 10, "the rest waits for the next turn");
}

#[test]
fn who_does_not_belong_is_refused_and_told_why() {
    let bench = Bench::new();
    let (theirs, server) = (Authority::new("theirs"), bench.server(true));
    let ours = bench.authority.sign("client", VALID);
    let good = client(&bench.authority, Some(&ours));
    assert_eq!(shake(&server, &good, 4096).0, Ok(()));
    let cases = [
        ("it showed no certificate", client(&bench.authority, None)),
        ("certificate expired", client(&bench.authority, Some(&bench.authority.sign("client", EXPIRED)))),
        ("UnknownIssuer", client(&bench.authority, Some(&theirs.sign("client", VALID)))),
        // The server's own certificate does not please the client.
        ("UnknownCA", client(&theirs, Some(&ours))),
    ];
    for (why, config) in cases {
        let (result, _, session, _) = shake(&server, &config, 4096);
        let told = result.unwrap_err();
        assert!(told.contains(why), "{why}: {told}");
        assert!(session.failure().is_some());
    }
}

#[test]
fn plain_text_and_old_versions_are_no_tls() {
    let bench = Bench::new();
    // A TLS 1.1 client's hello (RFC 4346, 7.4.1.2): one suite that was common then, no extensions.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([9; 32]);
    hello.extend([0, 0, 2, 0xC0, 0x13, 1, 0]);
    // And a TLS 1.0 client's (RFC 2246).
    let older: Vec<u8> =
        hello.iter().enumerate().map(|(at, byte)| if at == 10 { 1 } else { *byte }).collect();
    let cases: [(&[u8], &str); 4] = [
        (b"<13>Oct 11 22:14:15 host app: hello\n", "it does not speak TLS"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "it does not speak TLS"),
        (&hello, "the TLS handshake failed"),
        (&older, "the TLS handshake failed"),
    ];
    for (sent, why) in cases {
        let wire = Wire::default();
        let mut session = bench.server(false).accept(wire.clone()).unwrap();
        wire.0.borrow_mut().to_server.extend(sent);
        let (came, end) = read_all(&mut session, &[4096]);
        let end = end.unwrap_err().to_string();
        assert!(came.is_empty() && end.contains(why), "{why}: {end}");
        let alert = wire.0.borrow().to_client.front().copied();
        assert_eq!(alert, Some(21), "it is told so, by an alert");
    }
}

#[test]
fn who_leaves_in_the_middle_failed_and_who_only_looks_did_not() {
    let bench = Bench::new();
    for (sent, failed) in [(&[22, 3, 1, 0][..], true), (&[], false)] {
        let wire = Wire::default();
        let mut session = bench.server(false).accept(wire.clone()).unwrap();
        wire.0.borrow_mut().to_server.extend(sent);
        assert!(is_would_block(read_all(&mut session, &[100]).1));
        wire.0.borrow_mut().closed = true;
        assert_eq!(
            (read_all(&mut session, &[100]).1.is_err(), session.failure().is_some()),
            (failed, failed)
        );
    }
}

#[test]
fn every_session_begins_in_full_and_nothing_is_sent_to_who_only_sends() {
    let bench = Bench::new();
    let shown = bench.authority.sign("client", VALID);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (server, config) = (bench.server(true), client_of(&bench.authority, Some(&shown), &[version]));
        for _ in 0..2 {
            let (wire, mut client) = (Wire::default(), session(&config));
            let mut session = server.accept(wire.clone()).unwrap();
            while client.is_handshaking() {
                wire.exchange(&mut client).unwrap();
                let _ = session.read(&mut [0; 4096]);
            }
            assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
            client.writer().write_all(b"hello").unwrap();
            while client.wants_write() {
                client.write_tls(&mut wire.0.borrow_mut().to_server).unwrap();
            }
            assert_eq!(read_all(&mut session, &[4096]).0, b"hello");
            assert!(wire.0.borrow().to_client.is_empty(), "unread bytes make a reset of the sender's close");
        }
    }
}

#[test]
fn new_files_are_for_new_sessions_and_broken_ones_for_nobody() {
    let bench = Bench::new();
    let (server, dir) = (bench.server(false), bench.dir.path());
    let serial = |server: &ServerTls| {
        let (result, _, _, client) = shake(server, &client(&bench.authority, None), 4096);
        assert_eq!(result, Ok(()));
        client.peer_certificates().unwrap()[0].to_vec()
    };
    let (_, old_wire, mut old, mut old_client) = shake(&server, &client(&bench.authority, None), 4096);
    let first = serial(&server);
    server.refresh();
    assert_eq!(serial(&server), first, "nothing changed");
    let next = bench.authority.sign("server", VALID);
    // One file first, as programs that renew certificates do: for a moment they do not fit.
    fs::write(dir.join("server.pem"), &next.cert).unwrap();
    server.refresh();
    assert_eq!(serial(&server), first, "the key is still the old one");
    fs::write(dir.join("server.key"), &next.key).unwrap();
    server.refresh();
    let second = serial(&server);
    assert_ne!(second, first);
    for broken in ["", "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n"] {
        fs::write(dir.join("server.pem"), broken).unwrap();
        server.refresh();
        assert_eq!(serial(&server), second);
    }
    fs::remove_file(dir.join("server.pem")).unwrap();
    server.refresh();
    assert_eq!(serial(&server), second);
    bench.authority.sign("server", VALID).write(dir, "server");
    refresh_certificates();
    assert_ne!(serial(&server), second, "all that are in use are looked at");
    old_client.writer().write_all(b"still here").unwrap();
    old_wire.exchange(&mut old_client).unwrap();
    assert_eq!(read_all(&mut old, &[100]).0, b"still here", "sessions go on as they began");
}

#[test]
fn keys_that_cannot_be_say_what_is_wrong() {
    let bench = Bench::new();
    let (dir, good) = (bench.dir.path(), bench.keys(true));
    let other = Authority::new("other").sign("other", VALID);
    other.write(dir, "other");
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(
        dir.join("locked"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let path = |name: &str| dir.join(name);
    let cases: [(ServerTlsKeys, &str); 6] = [
        (ServerTlsKeys { cert: path("gone"), ..good.clone() }, "cert: "),
        (ServerTlsKeys { cert: path("empty"), ..good.clone() }, "holds no certificate"),
        (ServerTlsKeys { key: path("server.pem"), ..good.clone() }, "holds no private key"),
        (ServerTlsKeys { key: path("locked"), ..good.clone() }, "holds an encrypted key"),
        (ServerTlsKeys { key: path("other.key"), ..good.clone() }, "is not of the certificate"),
        (ServerTlsKeys { client_ca: Some(path("server.key")), ..good.clone() }, "client_ca: "),
    ];
    for (keys, expected) in cases {
        let error = ServerTls::load(&keys, "source app").err().unwrap();
        assert!(error.contains(expected) && error.contains(&*dir.to_string_lossy()), "{expected}: {error}");
    }
}

#[test]
fn keys_written_by_halves_are_refused() {
    let read = |text: &str| serde_yaml::from_str::<ServerTlsKeys>(text).map_err(|error| error.to_string());
    assert_eq!(
        read("{ cert: a, key: b }"),
        Ok(ServerTlsKeys { cert: "a".into(), key: "b".into(), client_ca: None })
    );
    for (text, expected) in [
        ("{ cert: a }", "`tls` needs `key` too"),
        ("{ key: a }", "`tls` needs `cert` too"),
        ("{ client_ca: a }", "`tls` needs `cert` too"),
        ("{ cert: a, key: '' }", "`tls` needs `key` too"),
        ("{ cert: a, key: b, client_ca: '' }", "`tls.client_ca` is empty"),
        ("{ cert: a, key: b, ca: c }", "unknown field `ca`"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// An identity, made once: making keys is what takes the time.
fn shared() -> &'static (Authority, ServerTlsKeys) {
    static SHARED: std::sync::OnceLock<(tempfile::TempDir, (Authority, ServerTlsKeys))> =
        std::sync::OnceLock::new();
    let (_, shared) = SHARED.get_or_init(|| {
        let Bench { dir, authority } = Bench::new();
        let keys = ServerTlsKeys {
            cert: Path::new(dir.path()).join("server.pem"),
            key: dir.path().join("server.key"),
            client_ca: None,
        };
        (dir, (authority, keys))
    });
    shared
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn records_cut_anywhere_and_read_in_any_rooms_give_the_same_bytes(
        pieces in prop::collection::vec(0..40_000usize, 1..6),
        cuts in prop::collection::vec(1..30_000usize, 1..6),
        rooms in prop::collection::vec(1..70_000usize, 1..5),
    ) {
        let (authority, keys) = shared();
        let server = ServerTls::load(keys, "source app").unwrap();
        let (_, wire, mut session, mut client) = shake(&server, &client(authority, None), 4096);
        client.set_buffer_limit(None);
        let mut sent = Vec::new();
        for piece in pieces {
            let bytes: Vec<u8> = (0..piece).map(|n| (sent.len() + n) as u8).collect();
            client.writer().write_all(&bytes).unwrap();
            sent.extend(bytes);
        }
        wire.exchange(&mut client).unwrap();
        let mut waiting: Vec<u8> = wire.0.borrow_mut().to_server.drain(..).collect();
        let mut came = Vec::new();
        for cut in cuts.iter().cycle() {
            let now = waiting.drain(..waiting.len().min(*cut));
            wire.0.borrow_mut().to_server.extend(now);
            came.extend(read_all(&mut session, &rooms).0);
            if waiting.is_empty() {
                break;
            }
        }
        prop_assert!(came == sent, "{} of {} bytes came", came.len(), sent.len());
    }

    #[test]
    fn no_bytes_at_the_door_do_more_than_fail(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let server = ServerTls::load(&shared().1, "source app").unwrap();
        let wire = Wire::default();
        let mut session = server.accept(wire.clone()).unwrap();
        wire.0.borrow_mut().to_server.extend(bytes);
        prop_assert!(read_all(&mut session, &[512]).0.is_empty());
    }
}
