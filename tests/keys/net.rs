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
sinks: { out: { type: file, path: "out/{source}" } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let sockets =
        ["plain.stream", "plain.datagram", "all.stream", "all.datagram"].map(|name| dir.path().join(name));
    let modes = sockets.each_ref().map(|path| {
        let found = fs::metadata(path).expect("it is there");
        assert!(found.file_type().is_socket());
        found.permissions().mode() & 0o777
    });
    assert_eq!(modes, [0o660, 0o660, 0o666, 0o666]);
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
