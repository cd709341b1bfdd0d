//! Our side of TLS (RFC 8446 and RFC 5246 by rustls with ring): whom we trust, who we are. There is no way not to check.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::Error;
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// The keys of `tls:` of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TlsKeys {
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file of our own certificate and those that lead to its authority.
    pub cert: Option<PathBuf>,
    /// A PEM file of our certificate's private key.
    pub key: Option<PathBuf>,
    /// The name the destination's certificate must have, where it is not the host in the URL.
    pub server_name: Option<String>,
}

impl<'de> Deserialize<'de> for TlsKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            ca: Option<PathBuf>,
            cert: Option<PathBuf>,
            key: Option<PathBuf>,
            server_name: Option<String>,
        }
        let Keys { ca, cert, key, server_name } = Keys::deserialize(deserializer)?;
        // Half an identity would be none: better not to start.
        match (&cert, &key) {
            (Some(_), None) => return Err(D::Error::custom("`key` is missing beside `cert`")),
            (None, Some(_)) => return Err(D::Error::custom("`cert` is missing beside `key`")),
            _ => {}
        }
        if let Some(name) = &server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(D::Error::custom("`server_name` must be a host name or an IP address"));
        }
        Ok(TlsKeys { ca, cert, key, server_name })
    }
}

/// A checked identity and those it trusts.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files. Errors say which of them cannot be used, and why.
    pub(super) fn load(keys: Option<&TlsKeys>) -> Result<Self, String> {
        let none = TlsKeys::default();
        let keys = keys.unwrap_or(&none);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("tls: {error}"))?
            .with_root_certificates(roots(keys.ca.as_deref())?);
        let mut config = match (&keys.cert, &keys.key) {
            (Some(cert), Some(key)) => {
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("tls.key: {}: {}", key.display(), pem(&error)))?;
                let chain = certificates(cert).map_err(|why| format!("tls.cert: {why}"))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| format!("tls.cert: {} and {}: {error}", cert.display(), key.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server_name =
            keys.server_name.as_ref().map(|name| ServerName::try_from(name.clone())).transpose();
        let server_name = server_name.map_err(|error| format!("tls.server_name: {error}"))?;
        Ok(Tls { config: Arc::new(config), server_name })
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in certificates(ca).map_err(|why| format!("tls.ca: {why}"))? {
            roots.add(certificate).map_err(|error| format!("tls.ca: {}: {error}", ca.display()))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.first()) {
        (0, Some(error)) => {
            Err(format!("the system's trusted certificates cannot be read: {error}; name yours in `tls.ca`"))
        }
        (0, None) => Err("this system has no trusted certificates: name yours in `tls.ca`".into()),
        _ => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &rustls::pki_types::pem::Error| format!("{}: {}", path.display(), pem(error));
    let read = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    match found.is_empty() {
        true => Err(format!("{}: there is no certificate in it", path.display())),
        false => Ok(found),
    }
}

fn pem(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error::{Io, NoItemsFound};
    match error {
        Io(error) => error.to_string(),
        NoItemsFound => "nothing of the kind is in it; expected PEM".into(),
        other => other.to_string(),
    }
}

/// Speaks TLS on connections to `https`.
pub(super) struct TlsConnector(Option<Tls>);

impl TlsConnector {
    pub(super) fn new(tls: Option<Tls>) -> Self {
        TlsConnector(tls)
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let Some(tls) = &self.0 else { return Err(Error::TlsRequired) };
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => {
                ServerName::try_from(host.to_owned()).map_err(|_| Error::Tls("the host is no valid name"))?
            }
        };
        let mut conn = ClientConnection::new(Arc::clone(&tls.config), name)?;
        let mut sock = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        sock.set_timeout(remaining(details));
        conn.complete_io(&mut sock)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned { conn, sock } })))
    }
}

/// What is left of the time to connect.
pub(super) fn remaining(details: &ConnectionDetails) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (Duration::Exact(after), Instant::Exact(begun), Instant::Exact(now)) =
        (timeout.after, details.now, (details.current_time)())
    {
        timeout.after = Duration::Exact(after.saturating_sub(now.saturating_duration_since(begun)));
    }
    timeout
}

/// A connection within TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
