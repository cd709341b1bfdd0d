//! The `socket` source, TLS, and Unix sockets.

use super::support::tls::{self, Authority, VALID};
use super::*;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    (
        "sources.syslog.tls.cert",
        "tests/keys/net.rs:a_certificate_is_shown_asked_for_and_taken_up_when_it_changes",
    ),
    (
        "sources.syslog.tls.key",
        "tests/keys/net.rs:a_certificate_is_shown_asked_for_and_taken_up_when_it_changes",
    ),
    (
        "sources.syslog.tls.client_ca",
        "tests/keys/net.rs:a_certificate_is_shown_asked_for_and_taken_up_when_it_changes",
    ),
    ("sources.syslog.handshake_timeout", "tests/keys/net.rs:a_handshake_may_take_as_long_as_it_was_given"),
    ("sources.socket.type", "tests/keys/net.rs:messages_are_told_apart_as_the_framing_says"),
    ("sources.socket.listen", "tests/keys/net.rs:messages_are_told_apart_as_the_framing_says"),
    ("sources.socket.framing", "tests/keys/net.rs:messages_are_told_apart_as_the_framing_says"),
    ("sources.socket.datagrams", "tests/keys/net.rs:messages_are_told_apart_as_the_framing_says"),
    ("sources.socket.tls.cert", "tests/keys/net.rs:a_socket_source_has_the_tls_it_was_given"),
    ("sources.socket.tls.key", "tests/keys/net.rs:a_socket_source_has_the_tls_it_was_given"),
    ("sources.socket.handshake_timeout", "tests/keys/net.rs:a_socket_source_has_the_tls_it_was_given"),
    (
        "sources.socket.socket_mode",
        "tests/keys/net.rs:unix_sockets_have_the_mode_they_were_given_and_go_at_the_end",
    ),
    ("sources.socket.max_connections", "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given"),
    (
        "sources.socket.max_connections_per_address",
        "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given",
    ),
    ("sources.socket.max_message", "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given"),
    ("sources.socket.idle_timeout", "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given"),
    ("sources.socket.partial_memory", "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given"),
    ("sources.socket.receive_buffer", "tests/keys/net.rs:a_socket_source_has_the_limits_it_was_given"),
    (
        "sources.syslog.socket_mode",
        "tests/keys/net.rs:unix_sockets_have_the_mode_they_were_given_and_go_at_the_end",
    ),
];

fn tls_of(instance: &mut Instance, source: &str) -> String {
    instance.address(&format!("source {source} "), "tls://")
}

#[test]
fn a_certificate_is_shown_asked_for_and_taken_up_when_it_changes() {
    let dir = dir();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for name in ["a", "b"] {
        ours.sign(name, VALID).write(dir.path(), name);
    }
    write(&dir.path().join("clients.pem"), &ours.pem());
    let text = config(
        r#"
sources:
  open:   { type: syslog, listen: ["tls://127.0.0.1:0"], tls: { cert: a.pem, key: a.key } }
  other:  { type: syslog, listen: ["tls://127.0.0.1:0"], tls: { cert: b.pem, key: b.key } }
  mutual: { type: syslog, listen: ["tls://127.0.0.1:0"], tls: { cert: b.pem, key: b.key, client_ca: clients.pem } }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let [open, other, mutual] = ["open", "other", "mutual"].map(|name| tls_of(&mut instance, name));
    let shown = |to: &str| {
        let mut stream = tls::connect(&tls::client(&ours, None), to).expect("a handshake");
        stream.write_all(b"<13>1 - - - - - - hello\n").expect("it reads");
        stream.flush().expect("it reads");
        stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let (a, b) = (shown(&open), shown(&other));
    assert_ne!(a, b, "each shows its own");
    let known = tls::client(&ours, Some(&ours.sign("client", VALID)));
    let mut stream = tls::connect(&known, &mutual).expect("a handshake");
    stream.write_all(b"<13>1 - - - - - - hello\n").expect("it reads");
    stream.flush().expect("it reads");
    for stranger in [tls::client(&ours, None), tls::client(&ours, Some(&theirs.sign("client", VALID)))] {
        // With TLS 1.3 the client learns of it behind its part of the handshake.
        if let Ok(mut stream) = tls::connect(&stranger, &mutual) {
            assert!(stream.read(&mut [0; 1]).is_err());
        }
    }
    let stats = instance.wait_delivered("out", 3);
    let broken = ["open", "other", "mutual"].map(|name| source(&stats, name, "broken_connections"));
    assert_eq!(broken, [0, 0, 2]);
    // A broken file changes nothing; another right one is for those who come from then on.
    write(&dir.path().join("a.pem"), "not a certificate");
    instance.wait_log("the old certificate stays in use: tls: cert: a.pem holds no certificate");
    assert_eq!(shown(&open), a);
    ours.sign("a", VALID).write(dir.path(), "a");
    instance.wait_log("source open: new certificate in use");
    assert!(![a, b].contains(&shown(&open)));
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_handshake_may_take_as_long_as_it_was_given() {
    let dir = dir();
    Authority::new("ours").sign("a", VALID).write(dir.path(), "a");
    let text = config(
        r#"
sources:
  patient:   { type: syslog, listen: ["tls://127.0.0.1:0"], tls: { cert: a.pem, key: a.key } }
  impatient: { type: syslog, listen: ["tls://127.0.0.1:0"], tls: { cert: a.pem, key: a.key }, handshake_timeout: 100ms }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let [patient, impatient] = ["patient", "impatient"].map(|name| tls_of(&mut instance, name));
    let kept = TcpStream::connect(patient).expect("connected");
    assert_closed(TcpStream::connect(impatient).expect("connected"));
    instance.wait_log("its TLS handshake is not complete after 100ms");
    let stats =
        instance.wait_stats("the impatient is alone", |stats| source(stats, "impatient", "streams") == 0);
    assert_eq!(
        (source(&stats, "patient", "streams"), source(&stats, "impatient", "broken_connections")),
        (1, 1)
    );
    drop(kept);
}

#[test]
fn unix_sockets_have_the_mode_they_were_given_and_go_at_the_end() {
    let dir = dir();
    let text = config(
        r#"
sources:
  plain: { type: syslog, listen: ["unix://plain.stream", "unixgram://plain.datagram"] }
  all:   { type: syslog, listen: ["unix://all.stream", "unixgram://all.datagram"], socket_mode: 0666 }
  own:   { type: socket, listen: ["unix://own.stream", "unixgram://own.datagram"], framing: nul, socket_mode: 0600 }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let both = |name: &str| ["stream", "datagram"].map(|kind| dir.path().join(format!("{name}.{kind}")));
    let sockets = ["plain", "all", "own"].map(both).concat();
    let modes = sockets.iter().map(|path| {
        let found = fs::metadata(path).expect("it is there");
        assert!(found.file_type().is_socket());
        found.permissions().mode() & 0o777
    });
    assert!(modes.eq([0o660, 0o660, 0o666, 0o666, 0o600, 0o600]));
    for at in [0, 2] {
        let mut stream = UnixStream::connect(&sockets[at]).expect("connected");
        stream.write_all(b"<13>1 - - - - - - a\n<13>1 - - - - - - b\0").expect("it reads");
        let datagrams = UnixDatagram::unbound().expect("a socket");
        datagrams.send_to(b"<13>1 - - - - - - c", &sockets[at + 1]).expect("sent");
    }
    instance.wait_delivered("out", 6);
    assert_eq!(instance.terminate(), 0);
    assert!(sockets.iter().all(|path| !path.exists()));
    for name in ["plain", "all"] {
        let mut lines = lines_of(&dir.path().join("out").join(name));
        lines.sort();
        assert_eq!(lines, ["a", "b", "c"].map(|text| format!("<13>1 - - - - - - {text}")));
    }
}

/// What came out of the source `name`, sorted.
fn sorted(dir: &Path, name: &str) -> Vec<String> {
    let mut lines = lines_of(&dir.join("out").join(name));
    lines.sort();
    lines
}

fn send(to: &str, bytes: &[u8]) {
    TcpStream::connect(to).expect("connected").write_all(bytes).expect("it reads");
}

#[test]
fn messages_are_told_apart_as_the_framing_says() {
    let dir = dir();
    let text = config(
        r#"
sources:
  newline: { type: socket, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] }
  nul:     { type: socket, listen: ["tcp://127.0.0.1:0"], framing: nul }
  counted: { type: socket, listen: ["tcp://127.0.0.1:0"], framing: octet_count }
  prefix:  { type: socket, listen: ["tcp://127.0.0.1:0"], framing: length_prefix }
  lines:   { type: socket, listen: ["udp://127.0.0.1:0"], datagrams: lines }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    send(&tcp_of(&mut instance, "newline"), b"one\r\n\r\ntwo\nthree");
    send(&tcp_of(&mut instance, "nul"), b"one\ntwo\0\0three");
    send(&tcp_of(&mut instance, "counted"), b"3 one7 two\none4 cut");
    send(&tcp_of(&mut instance, "prefix"), b"\0\0\0\x03one\0\0\0\0\0\0\0\x07two\none\0\0\0\x04cut");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for source in ["newline", "lines"] {
        let to = instance.address(&format!("source {source} "), "udp://");
        datagrams.send_to(b"a\r\nb\n\nc\n", to).expect("sent");
    }
    let stats = instance.wait_delivered("out", 3 + 2 + 3 + 3 + 1 + 3);
    assert_ledger(&stats);
    let message = |line: &String| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        entry["message"].as_str().expect("text").to_string()
    };
    for (source, expected) in [
        ("newline", &["a\r\nb\n\nc", "one", "three", "two"][..]),
        ("nul", &["one\ntwo", "three"]),
        ("counted", &["cut", "one", "two\none"]),
        ("prefix", &["cut", "one", "two\none"]),
        ("lines", &["a", "b", "c"]),
    ] {
        let mut came: Vec<_> = sorted(dir.path(), source).iter().map(message).collect();
        came.sort();
        assert_eq!(came, expected, "{source}");
    }
}

#[test]
fn a_socket_source_has_the_tls_it_was_given() {
    let dir = dir();
    let ours = Authority::new("ours");
    for name in ["a", "b"] {
        ours.sign(name, VALID).write(dir.path(), name);
    }
    let text = config(
        r#"
sources:
  a: { type: socket, listen: ["tls://127.0.0.1:0"], tls: { cert: a.pem, key: a.key } }
  b: { type: socket, listen: ["tls://127.0.0.1:0"], tls: { cert: b.pem, key: b.key }, handshake_timeout: 100ms }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let to = ["a", "b"].map(|name| tls_of(&mut instance, name));
    let shown = to.each_ref().map(|to| {
        let mut stream = tls::connect(&tls::client(&ours, None), to).expect("a handshake");
        stream.write_all(b"one\ntwo\n").expect("it reads");
        stream.flush().expect("it reads");
        stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
    });
    assert_ne!(shown[0], shown[1]);
    instance.wait_delivered("out", 4);
    assert_eq!(["a", "b"].map(|name| sorted(dir.path(), name)), [["one", "two"]; 2]);
    let kept = TcpStream::connect(&to[0]).expect("connected");
    assert_closed(TcpStream::connect(&to[1]).expect("connected"));
    let stats = instance.wait_stats("the silent one is gone", |stats| source(stats, "b", "streams") == 0);
    assert_eq!((source(&stats, "a", "streams"), source(&stats, "b", "broken_connections")), (1, 1));
    drop(kept);
}

#[test]
fn a_socket_source_has_the_limits_it_was_given() {
    const NAMES: [&str; 5] = ["wide", "two", "one-per", "short", "small"];
    let dir = dir();
    let text = config(
        r#"
sources:
  wide:    { type: socket, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], receive_buffer: 1MiB }
  two:     { type: socket, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], max_connections: 2, max_message: 100B, receive_buffer: 8KiB }
  one-per: { type: socket, listen: ["tcp://127.0.0.1:0"], max_connections_per_address: 1, framing: length_prefix, max_message: 100B }
  short:   { type: socket, listen: ["tcp://127.0.0.1:0"], idle_timeout: 100ms }
  small:   { type: socket, listen: ["tcp://127.0.0.1:0"], max_message: 40KiB, partial_memory: 40KiB }
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let [wide, two, one_per, short, small] = NAMES.map(|name| tcp_of(&mut instance, name));
    let mut open = vec![connect_from(1, &wide), connect_from(1, &wide), connect_from(1, &wide)];
    open.extend([connect_from(1, &two), connect_from(1, &two)]);
    assert_closed(connect_from(3, &two));
    open.push(connect_from(1, &one_per));
    assert_closed(connect_from(1, &one_per));
    open.push(connect_from(3, &one_per));
    assert_closed(connect_from(1, &short));
    for at in [0, 3] {
        open[at].write_all(&[&[b'x'; 500][..], b"\n"].concat()).expect("it reads");
    }
    // A length over the limit.
    open[5].write_all(b"\0\0\0\x65").expect("it reads");
    let hoard = [1, 2].map(|_| {
        let mut connection = connect_from(1, &small);
        connection.write_all(&[b'x'; 30_000]).expect("it reads");
        connection
    });
    let stats = instance.wait_stats("all is done with", |stats| {
        source(stats, "small", "received") == 1
            && source(stats, "one-per", "broken_connections") == 1
            && ["wide", "two"].iter().all(|name| source(stats, name, "received") == 1)
    });
    let of = |key: &str| NAMES.map(|name| source(&stats, name, key));
    assert_eq!(of("refused_connections"), [0, 1, 1, 0, 0]);
    assert_eq!(of("cut"), [0, 1, 0, 0, 0]);
    // Three connections or two, and a socket for datagrams or none that counts as nothing.
    assert_eq!(of("streams")[2..4], [1, 0]);
    drop(hoard);
    // While it stands still, all of a burst has to fit the buffer.
    let to = ["wide", "two"].map(|name| instance.address(&format!("source {name} "), "udp://"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    instance.signal("STOP");
    for (to, _) in to.iter().flat_map(|to| (0..100).map(move |n| (to, n))) {
        socket.send_to(&[b'x'; 500], to).expect("sent");
    }
    instance.signal("CONT");
    let stats = instance.wait_stats("the burst is in", |stats| source(stats, "wide", "received") == 101);
    assert!(source(&stats, "two", "received") < 101);
}
