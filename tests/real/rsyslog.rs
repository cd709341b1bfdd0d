//! rsyslog forwards messages of both formats over every transport: each arrives once, with its fields.

use super::part::Part;
use super::support::tls::{Authority, VALID};
use super::support::{Instance, assert_ledger, number, row};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { net: { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], timezone: utc } }
sinks: { all: { type: file, path: out/all.log, format: json } }
"#;
/// Enough for every facility with every severity, and then some.
const MESSAGES: usize = 400;
/// Messages on their way at once: few enough for any receive buffer, were they all long ones.
const AT_ONCE: usize = 8;

const FACILITIES: &str = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock \
    local0 local1 local2 local3 local4 local5 local6 local7";
const SEVERITIES: &str = "emerg alert crit err warning notice info debug";

const OCTETS: &str = r#"protocol="tcp" TCP_Framing="octet-counted""#;
const LINES: &str = r#"protocol="tcp" TCP_Framing="traditional""#;
const DATAGRAMS: &str = r#"protocol="udp""#;
const TLS: &str = r#"protocol="tcp" TCP_Framing="octet-counted" StreamDriver="ossl" StreamDriverMode="1"
    StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost""#;

#[test]
fn rfc_3164_over_octet_counted_tcp() {
    forwards(Format::Rfc3164, OCTETS);
}

#[test]
fn rfc_3164_over_tcp_by_lines() {
    forwards(Format::Rfc3164, LINES);
}

#[test]
fn rfc_3164_over_udp() {
    forwards(Format::Rfc3164, DATAGRAMS);
}

#[test]
fn rfc_5424_over_octet_counted_tcp() {
    forwards(Format::Rfc5424, OCTETS);
}

#[test]
fn rfc_5424_over_tcp_by_lines() {
    forwards(Format::Rfc5424, LINES);
}

#[test]
fn rfc_5424_over_udp() {
    forwards(Format::Rfc5424, DATAGRAMS);
}

#[test]
fn rfc_5424_over_tls_with_certificates_on_both_sides() {
    forwards(Format::Rfc5424, TLS);
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Rfc3164,
    Rfc5424,
}

/// A message as it is given to rsyslog, and what has to come out at the other end.
struct Message {
    wire: String,
    time: Timestamp,
    fields: Map<String, Value>,
}

fn forwards(format: Format, transport: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let (scheme, config) = match transport {
        DATAGRAMS => ("udp://", CONFIG.to_string()),
        TLS => ("tls://", secure(dir.path())),
        _ => ("tcp://", CONFIG.to_string()),
    };
    let mut instance = Instance::start(dir.path(), &config);
    let address = instance.address("source net", scheme);
    let (mut rsyslog, mut input) = start(dir.path(), format, transport, &address);
    let now = Timestamp::now();
    let messages: Vec<Message> = (0..MESSAGES).map(|number| message(format, number, now)).collect();
    let mut sent = 0;
    for some in messages.chunks(AT_ONCE) {
        for message in some {
            write!(input, "{} {}", message.wire.len(), message.wire).expect("rsyslog reads");
        }
        sent += some.len() as u64;
        instance.wait_stats("rsyslog forwarded them", |stats| {
            number(row(stats, "sources", "net"), "received") >= sent
        });
    }
    let stats = instance.wait_delivered("all", sent);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "net"), "received"), sent);
    assert_eq!(instance.terminate(), 0);
    rsyslog.check(dir.path());
    recount(&dir.path().join("out/all.log"), messages);
}

/// A config that asks for certificates, and those of both sides in `dir`.
fn secure(dir: &Path) -> String {
    let authority = Authority::new("ours");
    for name in ["server", "client"] {
        authority.sign(name, VALID).write(dir, name);
    }
    fs::write(dir.join("ca.pem"), authority.pem()).expect("written");
    let tls = r#""tls://127.0.0.1:0"], tls: { cert: server.pem, key: server.key, client_ca: ca.pem }"#;
    CONFIG.replace(r#""tcp://127.0.0.1:0", "udp://127.0.0.1:0"]"#, tls)
}

/// rsyslog with a way in, over a connection of ours, and one way out.
fn start(dir: &Path, format: Format, transport: &str, address: &str) -> (Rsyslog, TcpStream) {
    let template = match format {
        Format::Rfc3164 => "RSYSLOG_TraditionalForwardFormat",
        Format::Rfc5424 => "RSYSLOG_SyslogProtocol23Format",
    };
    let (host, port) = address.split_once(':').expect("host and port");
    let name = dir.display();
    let files = match transport {
        TLS => format!(
            r#"DefaultNetstreamDriverCAFile="{name}/ca.pem" DefaultNetstreamDriverCertFile="{name}/client.pem"
                DefaultNetstreamDriverKeyFile="{name}/client.key""#
        ),
        _ => String::new(),
    };
    // What it says of itself takes the way without a ruleset.
    let config = format!(
        r#"global(workDirectory="{name}" maxMessageSize="64k" processInternalMessages="on" {files})
module(load="imtcp")
ruleset(name="out") {{
    action(type="omfwd" target="{host}" port="{port}" {transport} template="{template}")
}}
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{name}/port" ruleset="out")
action(type="omfile" file="{name}/own.log")
"#
    );
    let path = dir.join("rsyslog.conf");
    fs::write(&path, config).expect("written");
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&path).arg("-i").arg(dir.join("pid")).env("TZ", "UTC");
    let mut part = Part::start(dir, &mut command);
    let port = part.wait_file(&dir.join("port"));
    let input = TcpStream::connect(format!("127.0.0.1:{}", port.trim())).expect("rsyslog listens");
    (Rsyslog(part), input)
}

struct Rsyslog(#[allow(dead_code, reason = "ends when it is dropped")] Part);

impl Rsyslog {
    /// It had nothing to complain of.
    fn check(&mut self, dir: &Path) {
        let own = fs::read_to_string(dir.join("own.log")).expect("it says that it started");
        assert!(!own.contains("error") && !own.contains("suspended"), "{own}");
    }
}

fn message(format: Format, number: usize, now: Timestamp) -> Message {
    let name = |names: &str, at: usize| names.split_whitespace().nth(at).expect("a name").to_string();
    let priority = number % (24 * 8);
    let host = format!("web-{}.example.org", number % 7);
    let app = ["cron", "sshd", "my-app", "a.b_c"][number % 4];
    let procid = (number % 3 > 0).then(|| (1000 + number).to_string());
    let text = text(number);
    let mut fields = Map::new();
    let mut field = |name: &str, value: &str| fields.insert(name.into(), value.into());
    field("facility", &name(FACILITIES, priority / 8));
    field("severity", &name(SEVERITIES, priority % 8));
    field("host", &host);
    field("app", app);
    field("message", &text);
    procid.iter().for_each(|procid| _ = field("procid", procid));
    let before = SignedDuration::from_micros(1_000_001 * number as i64);
    match format {
        Format::Rfc3164 => {
            // Whole seconds are all it can say.
            let time = Timestamp::from_second((now - before).as_second()).expect("in range");
            let tag = procid.map_or_else(|| format!("{app}:"), |procid| format!("{app}[{procid}]:"));
            let wire = format!("<{priority}>{} {host} {tag} {text}", time.strftime("%b %e %H:%M:%S"));
            Message { wire, time, fields }
        }
        Format::Rfc5424 => {
            let time = Timestamp::from_microsecond((now - before).as_microsecond()).expect("in range");
            let procid = procid.unwrap_or_else(|| "-".into());
            let msgid = ["-", "ID47"][number % 2];
            if msgid != "-" {
                field("msgid", msgid);
            }
            let data = match number % 5 {
                0 => "-",
                1 => r#"[one@32473 key="value" empty=""]"#,
                2 => r#"[one@32473 quoted="say \"hi\", \\ and \]" umlaut="Grüße"]"#,
                3 => r#"[one@32473 a="1"][two@32473 a="2" b="["][three@32473]"#,
                _ => r#"[origin ip="192.0.2.1" software="x" swVersion="1.2"]"#,
            };
            for (name, value) in params(number % 5) {
                field(name, value);
            }
            let stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
            let wire = format!("<{priority}>1 {stamp} {host} {app} {procid} {msgid} {data} {text}");
            Message { wire, time, fields }
        }
    }
}

/// The fields of each kind of structured data.
fn params(kind: usize) -> &'static [(&'static str, &'static str)] {
    match kind {
        0 => &[],
        1 => &[("one@32473.key", "value"), ("one@32473.empty", "")],
        2 => &[("one@32473.quoted", r#"say "hi", \ and ]"#), ("one@32473.umlaut", "Grüße")],
        3 => &[("one@32473.a", "1"), ("two@32473.a", "2"), ("two@32473.b", "[")],
        _ => &[("origin.ip", "192.0.2.1"), ("origin.software", "x"), ("origin.swVersion", "1.2")],
    }
}

/// What a message says: all kinds of things, and its number.
fn text(number: usize) -> String {
    let what = match number % 10 {
        0 => "plain words".into(),
        1 => "Grüße, 世界 🦀".into(),
        2 => "[not=\"structured\"] <13>1 {data} (at all)".into(),
        3 => r#"it said "no", 'maybe', `yes`"#.into(),
        4 => "8 KiB ".to_string() + &"long ".repeat(8192 / 5) + "end",
        5 => r#"{"level":"info","text":"a \"b\" c"}"#.into(),
        6 => r"100 % of \n, \\ and %msg%".into(),
        7 => "a: b[7]: c: d".into(),
        8 => "two  blanks   and more".into(),
        _ => "Nov 23 10:00:00 as if it began again".into(),
    };
    format!("number {number}: {what}")
}

/// Every message came out, once, as it was sent.
fn recount(path: &Path, messages: Vec<Message>) {
    let out = fs::read_to_string(path).expect("output is text");
    assert_eq!(out.lines().count(), messages.len());
    let mut came: BTreeMap<String, Value> = BTreeMap::new();
    for line in out.lines() {
        let entry: Value = serde_json::from_str(line).expect("a JSON object");
        let text = entry["fields"]["message"].as_str().unwrap_or_else(|| panic!("no message: {line}"));
        let twice = came.insert(text.to_string(), entry.clone());
        assert!(twice.is_none(), "twice: {line}");
    }
    for message in messages {
        let text = message.fields["message"].as_str().expect("text");
        let entry = came.get(text).unwrap_or_else(|| panic!("never came: {}", message.wire));
        assert_eq!(entry["fields"], json!(message.fields), "{}\n{entry:#}", message.wire);
        let time: Timestamp = entry["time"].as_str().expect("a time").parse().expect("RFC 3339");
        assert_eq!(time, message.time, "{}\n{entry:#}", message.wire);
        assert!(entry["message"].as_str().expect("the whole of it").ends_with(text), "{entry:#}");
    }
}
