//! The client against a destination that does as it is told.

use super::destination::{Act, Destination, says, status};
use super::outside::{Authority, proxy, server};
use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::io::{Read, Write};
use std::time::Instant;

/// Shorter than any answer that drips takes, longer than any that does not.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

fn connect<'a>(timeout: Duration) -> Connect<'a> {
    Connect { connect_timeout: LONG, timeout, auth: None, tls: None, proxy: None, proxy_auth: None }
}

fn client_of(url: &str, connect: Connect<'_>) -> Result<Client, String> {
    let url = Url::parse(url).unwrap();
    Client::new(Settings { url: &url, method: Method::POST, connect, connections: 2 })
}

fn client(url: &str, connect: Connect<'_>) -> Client {
    client_of(url, connect).unwrap()
}

fn failed(client: &Client) -> String {
    client.send(&[], b"body").expect_err("no answer")
}

#[test]
fn requests_share_a_connection_and_say_who_they_are() {
    let there = Destination::start();
    there.script([says(200, "ok"), says(500, "no")]);
    let auth: Auth = serde_json::from_str(r#"{"bearer":"t0ken"}"#).unwrap();
    let client = client(&(there.url() + "/in?x=1"), Connect { auth: Some(&auth), ..connect(LONG) });
    let header = (HeaderName::from_static("x-one"), HeaderValue::from_static("1"));
    let statuses: Vec<_> =
        (0..3).map(|_| client.send(std::slice::from_ref(&header), b"hello").unwrap().status).collect();
    assert_eq!(statuses, [200, 500, 204]);
    for request in there.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/in?x=1"));
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(request.header("x-one"), Some("1"));
        assert_eq!(request.header("content-length"), Some("5"));
        assert_eq!(request.header("transfer-encoding"), None);
        assert!(request.header("user-agent").unwrap().starts_with("ringmain/"));
        assert_eq!((request.body.as_slice(), request.connection), (&b"hello"[..], 1));
    }
}

#[test]
fn an_answer_costs_no_more_than_its_limits_whatever_it_says() {
    let there = Destination::start();
    let client = client(&there.url(), connect(LONG));
    let packed = |body: &[u8]| {
        let mut out = Vec::new();
        Packer::new(Compression::Gzip, None).unwrap().pack(body, &mut out).unwrap();
        Act::Answer(400, vec![("Content-Encoding", "gzip".into())], out)
    };
    there.script([Act::Huge(503), packed(&vec![b'a'; 64 << 20]), packed(b"small"), Act::ManyHeaders]);
    let answer = client.send(&[], b"").unwrap();
    assert_eq!((answer.status, answer.body.len()), (503, ANSWER_MAX));
    assert_eq!(client.send(&[], b"").unwrap().body, vec![b'a'; ANSWER_MAX]);
    assert_eq!(client.send(&[], b"").unwrap().body, b"small");
    let why = failed(&client);
    assert!(why.contains("head is over") || why.contains("no HTTP/1.1"), "{why}");
}

#[test]
fn the_deadline_holds_for_drips_and_silence() {
    let there = Destination::start();
    let client = client(&there.url(), connect(SHORT));
    there.script([Act::Silence, Act::DripHead, Act::Drip(400), Act::Drip(200)]);
    let begun = Instant::now();
    for _ in 0..2 {
        assert_eq!(failed(&client), "no whole answer within `timeout`");
    }
    // The status was there in time; what follows it is only its explanation.
    assert_eq!(client.send(&[], b"").unwrap().status, 400);
    assert_eq!(client.send(&[], b"").unwrap().status, 200);
    assert!(begun.elapsed() < LONG / 2, "not by the destination's patience");
}

#[test]
fn a_broken_connection_is_no_answer_and_the_next_request_takes_another() {
    let there = Destination::start();
    let client = client(&there.url(), connect(LONG));
    there.script([status(204), Act::ResetBefore, Act::ResetAfter, Act::Half]);
    assert_eq!(client.send(&[], b"1").unwrap().status, 204);
    for _ in 0..3 {
        let why = failed(&client);
        assert!(why.contains("before a whole answer had come"), "{why}");
    }
    assert_eq!(client.send(&[], b"5").unwrap().status, 204);
    assert_eq!(there.requests().len(), 4, "all but the one that was reset before it was read");
}

#[test]
fn redirects_are_answers_and_not_followed() {
    let (there, elsewhere) = (Destination::start(), Destination::start());
    there.always(Act::Answer(307, vec![("Location", elsewhere.url())], Vec::new()));
    assert_eq!(client(&there.url(), connect(LONG)).send(&[], b"secret").unwrap().status, 307);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn what_does_not_answer_is_told_apart() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = failed(&client(&format!("http://{closed}"), connect(LONG)));
    assert!(why.contains("refused"), "{why}");
    let why = failed(&client("http://nowhere.invalid", connect(LONG)));
    assert!(why.contains("resolve") || why.contains("lookup"), "{why}");
    let there = Destination::start();
    let url = there.url().replace("http", "https");
    let ca = Authority::new("ca");
    let dir = tempfile::tempdir().unwrap();
    let tls = TlsKeys { ca: Some(ca.file(dir.path())), ..TlsKeys::default() };
    let why = failed(&client(&url, Connect { tls: Some(&tls), ..connect(SHORT) }));
    assert!(why.contains("TLS") || why.contains("closed") || why.contains("timeout"), "{why}");
}

#[test]
fn retry_after_is_heard() {
    let there = Destination::start();
    there.script([Act::Answer(429, vec![("Retry-After", "7".into())], Vec::new())]);
    let answer = client(&there.url(), connect(LONG)).send(&[], b"").unwrap();
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
}

// --- TLS

#[test]
fn only_a_valid_certificate_of_the_right_host_by_a_trusted_authority_is_sent_to() {
    let (dir, ca, stranger) =
        (tempfile::tempdir().unwrap(), Authority::new("ca"), Authority::new("stranger"));
    let tls = TlsKeys { ca: Some(ca.file(dir.path())), ..TlsKeys::default() };
    let trusting = Connect { tls: Some(&tls), ..connect(LONG) };
    let here = ["127.0.0.1"];
    let old = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    };
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2999, 1, 1);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(here.map(String::from)).unwrap().self_signed(&key).unwrap();
    for (identity, says) in [
        (ca.issue(&here, old), "has expired"),
        (ca.issue(&here, early), "not valid"),
        (ca.issue(&["127.0.0.2"], |_| ()), "another host's"),
        (ca.issue(&["localhost"], |_| ()), "another host's"),
        (stranger.issue(&here, |_| ()), "tls.ca"),
        ((own.pem(), key.serialize_pem()), "TLS: "),
    ] {
        let there = server(&identity, None);
        let why = failed(&client(&there.url(), trusting));
        assert!(why.starts_with("TLS: ") && why.contains(says), "{says}: {why}");
        assert_eq!(there.requests().len(), 0);
    }
    let there = server(&ca.issue(&here, |_| ()), None);
    assert_eq!(client(&there.url(), trusting).send(&[], b"x").unwrap().status, 204);
    // Without `ca` the system's authorities count, and ours is none of them.
    if let Ok(client) = client_of(&there.url(), connect(LONG)) {
        assert!(failed(&client).contains("tls.ca"));
    }
}

#[test]
fn names_match_as_a_whole_or_by_one_wildcard_label() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let names = ["logs.example.com", "*.wild.example.com", "log*.part.example.com"];
    let there = server(&ca.issue(&names, |_| ()), None);
    for (name, matches) in [
        ("logs.example.com", true),
        ("a.wild.example.com", true),
        ("a.b.wild.example.com", false),
        ("wild.example.com", false),
        ("xlogs.example.com", false),
        // A `*` is a whole label.
        ("logs1.part.example.com", false),
        ("127.0.0.1", false),
    ] {
        let tls =
            TlsKeys { ca: Some(ca.file(dir.path())), server_name: Some(name.into()), ..TlsKeys::default() };
        let client = client(&there.url(), Connect { tls: Some(&tls), ..connect(LONG) });
        assert_eq!(client.send(&[], b"").is_ok(), matches, "{name}");
    }
}

#[test]
fn a_server_that_speaks_only_old_versions_is_not_sent_to() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let tls = TlsKeys { ca: Some(ca.file(dir.path())), ..TlsKeys::default() };
    // TLS 1.0 and 1.1 (RFC 2246, RFC 4346): what such a server says to a client's hello.
    for minor in [1, 2] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
            stream.read_exact(&mut rest).unwrap();
            // A record with a ServerHello: version, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
            let body = [&[3, minor][..], &[7; 32], &[0, 0x00, 0x2f, 0]].concat();
            let head = [22, 3, minor, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
            stream.write_all(&[&head[..], &body].concat()).unwrap();
            let mut said = Vec::new();
            // It hangs up, and what it says before that is an alert at most.
            let _ = stream.read_to_end(&mut said);
            said
        });
        let why = failed(&client(&url, Connect { tls: Some(&tls), ..connect(LONG) }));
        assert!(why.starts_with("TLS: "), "{why}");
        let said = server.join().unwrap();
        assert!(said.first().is_none_or(|kind| *kind == 21), "no request, no key: {said:?}");
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let there = server(&ca.issue(&["127.0.0.1"], |_| ()), Some(&ca));
    let mut tls = TlsKeys { ca: Some(ca.file(dir.path())), ..TlsKeys::default() };
    let why = failed(&client(&there.url(), Connect { tls: Some(&tls), ..connect(LONG) }));
    assert!(why.contains("client certificate") || why.contains("before a whole answer"), "{why}");
    let (cert, key) = ca.issue(&["us"], |_| ());
    for (name, text) in [("us.pem", cert), ("us.key", key)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    (tls.cert, tls.key) = (Some(dir.path().join("us.pem")), Some(dir.path().join("us.key")));
    let known = client(&there.url(), Connect { tls: Some(&tls), ..connect(LONG) });
    for _ in 0..3 {
        assert_eq!(known.send(&[], &vec![b'x'; 1 << 20]).unwrap().status, 204);
    }
    let connections: Vec<_> = there.requests().iter().map(|request| request.connection).collect();
    assert!(connections.iter().all(|number| *number == connections[0]), "{connections:?}");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (text, none) = (dir.path().join("text"), dir.path().join("none"));
    std::fs::write(&text, "hello").unwrap();
    let (cert, key) = Authority::new("ca").issue(&["a"], |_| ());
    let (_, other) = Authority::new("ca").issue(&["a"], |_| ());
    for (name, content) in [("cert", &cert), ("key", &key), ("other", &other)] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let path = |name: &str| Some(dir.path().join(name));
    for (tls, key, file) in [
        (TlsKeys { ca: Some(none), ..TlsKeys::default() }, "tls.ca", "none"),
        (TlsKeys { ca: Some(text.clone()), ..TlsKeys::default() }, "tls.ca", "text"),
        (TlsKeys { cert: path("cert"), key: Some(text), ..TlsKeys::default() }, "tls.key", "text"),
        (TlsKeys { cert: path("key"), key: path("key"), ..TlsKeys::default() }, "tls.cert", "key"),
        (TlsKeys { cert: path("cert"), key: path("other"), ..TlsKeys::default() }, "tls.cert", "other"),
    ] {
        let error = client_of("https://host", Connect { tls: Some(&tls), ..connect(LONG) }).err().unwrap();
        assert!(error.starts_with(key) && error.contains(file), "{error}");
    }
    let halves = serde_json::from_str::<TlsKeys>(r#"{"cert":"a"}"#).unwrap_err().to_string();
    assert!(halves.contains("`key` is missing"), "{halves}");
}

// --- proxies

#[test]
fn a_proxy_is_gone_through_when_it_is_named_and_resolves_the_host() {
    let there = Destination::start();
    let (url, asked) = proxy("HTTP/1.1 200 Connection established\r\nX-Via: me\r\n\r\n");
    let auth: ProxyAuth = serde_json::from_str(r#"{"username":"ann","password":"pw"}"#).unwrap();
    let proxy = Url::parse(&url).unwrap();
    let connect = Connect { proxy: Some(&proxy), proxy_auth: Some(&auth), ..connect(LONG) };
    let client = client(&format!("http://elsewhere.invalid:{}/in", there.port()), connect);
    for _ in 0..2 {
        assert_eq!(client.send(&[], b"x").unwrap().status, 204);
    }
    let head = asked.recv().unwrap();
    let host = format!("elsewhere.invalid:{}", there.port());
    assert!(head.starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic YW5uOnB3\r\n"), "{head}");
    for request in there.requests() {
        assert_eq!(request.header("host"), Some(host.as_str()));
        assert_eq!(request.header("proxy-authorization"), None, "the destination is not shown it");
    }
}

#[test]
fn a_proxy_that_does_not_let_through_is_named() {
    for (answer, says) in [
        ("HTTP/1.1 407 Who\r\n\r\n", "proxy_auth"),
        ("HTTP/1.1 502 No\r\n\r\n", "the proxy answers 502"),
        ("SSH-2.0-x\r\n\r\n", "no HTTP/1.1"),
    ] {
        let (url, _asked) = proxy(answer);
        let proxy = Url::parse(&url).unwrap();
        let why =
            failed(&client("http://elsewhere.invalid:1/", Connect { proxy: Some(&proxy), ..connect(LONG) }));
        assert!(why.contains(says), "{why}");
    }
}
