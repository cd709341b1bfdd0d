//! syslog-ng forwards over TCP, by lines and octet-counted, over TLS, and over both kinds of unix sockets: each message
//! arrives once, in order.

use super::part::Part;
use super::support::tls::{Authority, VALID};
use super::support::{Instance, Recount, assert_ledger, line, number, row};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources:
  lines:    { type: syslog, listen: ["tcp://127.0.0.1:0"] }
  counted:  { type: syslog, listen: ["tcp://127.0.0.1:0"] }
  stream:   { type: syslog, listen: ["unix://stream.sock"] }
  datagram: { type: syslog, listen: ["unixgram://datagram.sock"] }
  tls:
    type: syslog
    listen: ["tls://127.0.0.1:0"]
    tls: { cert: server.pem, key: server.key, client_ca: ca.pem }
sinks: { all: { type: file, path: "out/{source}.log" } }
"#;
const SOURCES: [&str; 5] = ["lines", "counted", "stream", "datagram", "tls"];
const MESSAGES: u64 = 2000;

#[test]
fn syslog_ng_over_tcp_tls_and_unix_sockets() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("ours");
    authority.sign("server", VALID).write(dir.path(), "server");
    authority.sign("client", VALID).write(dir.path(), "client");
    fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
    let mut instance = Instance::start(dir.path(), CONFIG);
    let lines = instance.address("source lines", "tcp://");
    let counted = instance.address("source counted", "tcp://");
    let tls = instance.address("source tls", "tls://");
    let mut syslog_ng = start(dir.path(), &lines, &counted, &tls);
    let mut input = connect(&dir.path().join("in.sock"), &mut syslog_ng);
    for n in 0..MESSAGES {
        writeln!(input, "<13>Nov 23 10:00:00 host app[1]: {}", line("s", n, 200)).expect("syslog-ng reads");
    }
    instance.wait_stats("syslog-ng forwarded them", |stats| {
        SOURCES.iter().all(|source| number(row(stats, "sources", source), "received") >= MESSAGES)
    });
    let stats = instance.wait_delivered("all", MESSAGES * SOURCES.len() as u64);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    for source in SOURCES {
        let mut recount = Recount::default();
        recount.add(&fs::read_to_string(dir.path().join(format!("out/{source}.log"))).expect("output"));
        recount.assert_exact("s", MESSAGES);
        assert!(recount.foreign.is_empty(), "{source}: {:?}", recount.foreign);
    }
}

/// syslog-ng with a way in and a way out to each of ours.
fn start(dir: &Path, lines: &str, counted: &str, tls: &str) -> Part {
    let name = dir.display();
    let port = |address: &str| address.rsplit(':').next().expect("a port").to_string();
    let [lines, counted, tls] = [lines, counted, tls].map(port);
    let config = format!(
        r#"@version: 3.38
options {{ stats-freq(0); keep-hostname(yes); }};
source in {{ unix-stream("{name}/in.sock" log-iw-size(10000)); }};
destination lines {{ network("127.0.0.1" port({lines}) transport("tcp")); }};
destination counted {{ syslog("127.0.0.1" port({counted}) transport("tcp")); }};
destination stream {{ unix-stream("{name}/stream.sock"); }};
destination datagram {{ unix-dgram("{name}/datagram.sock"); }};
destination tls {{ syslog("127.0.0.1" port({tls}) transport("tls") tls(ca-file("{name}/ca.pem")
    cert-file("{name}/client.pem") key-file("{name}/client.key") peer-verify(required-trusted))); }};
log {{ source(in); destination(lines); destination(counted); destination(stream); destination(datagram);
    destination(tls); flags(flow-control); }};
"#
    );
    fs::write(dir.join("syslog-ng.conf"), config).expect("written");
    let path = |name: &str| dir.join(name);
    let mut command = Command::new("syslog-ng");
    command.args(["-F", "-e", "--no-caps", "-f"]).arg(path("syslog-ng.conf"));
    command.arg("-R").arg(path("persist")).arg("-p").arg(path("pid")).arg("-c").arg(path("ctl"));
    Part::start(dir, &mut command)
}

/// A connection to syslog-ng's own socket, once it is there.
fn connect(path: &Path, _running: &mut Part) -> UnixStream {
    let deadline = Instant::now() + super::support::PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                assert!(Instant::now() < deadline, "no {}", path.display());
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}
