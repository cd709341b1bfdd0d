//! Certificates and proxies for the tests of sinks, and what all of them are tested for with these.

use super::destination::{Act, Destination};
use crate::sinks::client;
use crate::sinks::testing::{batch_of, stream};
use crate::sinks::{SendError, Sink};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate to a file below `dir`.
    pub fn file(&self, dir: &Path) -> std::path::PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }

    /// Certificate and key in PEM.
    pub fn issue(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A destination with this identity, which wants clients of `clients_of`.
pub fn server((cert, key): &(String, String), clients_of: Option<&Authority>) -> Destination {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    Destination::with_tls(builder.with_single_cert(chain, key).unwrap())
}

/// A proxy that answers `CONNECT` with `answer` and passes on what follows, if that is 200. Gives what it was asked.
pub fn proxy(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let target = head.split(' ').nth(1).unwrap().replace("elsewhere.invalid", "127.0.0.1");
        tell.send(head).unwrap();
        (&client).write_all(answer.as_bytes()).unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            let there = std::net::TcpStream::connect(target).unwrap();
            let (mut back, mut to) = (there.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut to));
            let _ = std::io::copy(&mut reader, &mut &there);
        }
    });
    (url, asked)
}

/// Makes a sink of keys.
type Make<'a> = &'a dyn Fn(Value) -> Box<dyn Sink>;

/// `timeout` and `connect_timeout`.
pub fn timeouts_are_those_of_the_config(made: Make<'_>) {
    let there = Destination::start();
    there.always(Act::Silence);
    let batch = batch_of(&stream("s", "o", &[]), &["1"]);
    let why = |keys: Value| match made(keys).send(&batch) {
        Err(SendError::Retry { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let begun = Instant::now();
    assert!(why(json!({ "url": there.url(), "timeout": "200ms" })).contains("`timeout`"));
    assert!(begun.elapsed() < client::timeout() / 2, "{:?}", begun.elapsed());
    // Takes connections and never greets.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let tls = json!({ "ca": ca.file(dir.path()) });
    // All of the request may take less than a greeting may by default.
    let keys = json!({ "url": url, "connect_timeout": "200ms", "timeout": "4s", "tls": tls });
    assert!(why(keys).contains("`connect_timeout`"));
}

/// `auth`, `tls`, `proxy` and `proxy_auth`.
pub fn tls_auth_and_proxy_are_those_of_the_config(made: Make<'_>) {
    let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let there = server(&ca.issue(&["logs.example.com"], |_| ()), Some(&ca));
    let (cert, key) = ca.issue(&["us"], |_| ());
    for (name, text) in [("us.pem", cert), ("us.key", key)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let (url, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n");
    let batch = batch_of(&stream("s", "o", &[]), &["1"]);
    let mut keys = json!({
        "url": there.url(),
        "auth": { "username": "ann", "password": "pw" },
        "proxy": url,
        "proxy_auth": { "username": "eve", "password": "pw" },
        "tls": {
            "ca": ca.file(dir.path()), "cert": dir.path().join("us.pem"), "key": dir.path().join("us.key"),
            "server_name": "logs.example.com"
        }
    });
    made(keys.clone()).send(&batch).unwrap();
    assert!(asked.try_recv().unwrap().contains("Proxy-Authorization: Basic ZXZlOnB3\r\n"));
    assert_eq!(there.requests()[0].header("authorization"), Some("Basic YW5uOnB3"));
    // Directly, with a token.
    let map = keys.as_object_mut().unwrap();
    drop((map.remove("proxy"), map.remove("proxy_auth")));
    keys["auth"] = json!({ "bearer": "t0ken" });
    made(keys.clone()).send(&batch).unwrap();
    assert_eq!(there.requests()[1].header("authorization"), Some("Bearer t0ken"));
    // Each of the keys of `tls` is needed.
    for gone in [&["server_name"][..], &["cert", "key"], &["ca"]] {
        let mut some = keys.clone();
        let tls = some["tls"].as_object_mut().unwrap();
        gone.iter().for_each(|key| drop(tls.remove(*key)));
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| made(some).send(&batch)));
        // A system without authorities of its own refuses the config already.
        assert!(!matches!(sent, Ok(Ok(()))), "without {gone:?}");
    }
}
