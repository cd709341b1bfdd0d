//! The certificate of a listener, its key, and who may come; taken up anew when the files change.

use super::session::Session;
use super::{pem, provider};
use arc_swap::ArcSwap;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, ServerConnection};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The `tls:` keys of a listener. Paths of PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written")]
pub struct ServerTlsKeys {
    /// The certificate shown to clients, with those that lead from it to its root behind it.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
    /// Certificates of authorities: every client must show a certificate that one of them signed. None: anyone may
    /// come.
    pub client_ca: Option<PathBuf>,
}

/// The keys as written, perhaps by halves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

impl TryFrom<Written> for ServerTlsKeys {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { cert, key, client_ca } = written;
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let missing =
            |name: &str| format!("`tls` needs `{name}` too: a server shows a `cert` and has its `key`");
        Ok(ServerTlsKeys {
            cert: given(cert).ok_or_else(|| missing("cert"))?,
            key: given(key).ok_or_else(|| missing("key"))?,
            // Written and empty, as by a variable that is not set, must not mean that anyone may come.
            client_ca: match client_ca {
                Some(path) => {
                    Some(given(Some(path)).ok_or("`tls.client_ca` is empty: name a file, or leave it out")?)
                }
                None => None,
            },
        })
    }
}

/// What a listener with TLS is: every session begun takes the certificate that is in force by then.
pub struct ServerTls {
    keys: ServerTlsKeys,
    /// Whose it is, for the log.
    owner: String,
    current: ArcSwap<ServerConfig>,
    /// Of the files looked at last, right or wrong; wrong ones are complained of once.
    seen: Mutex<u64>,
    hasher: RandomState,
}

/// All there are, to be looked after by whoever has the time (see [`refresh_certificates`]). They are few and live as
/// long as their listeners.
static ALL: Mutex<Vec<Weak<ServerTls>>> = Mutex::new(Vec::new());

/// Looks whether the files of any listener have changed, and takes them up. Reads files: not for a thread that must
/// not wait.
pub fn refresh_certificates() {
    let all = {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|server| server.strong_count() > 0);
        all.clone()
    };
    all.iter().filter_map(Weak::upgrade).for_each(|server| server.refresh());
}

impl ServerTls {
    /// Reads the files of `keys` for `owner`, such as `source app`.
    ///
    /// Errors: a file that cannot be read or does not hold what it should, or a key of another certificate.
    pub fn load(keys: &ServerTlsKeys, owner: &str) -> Result<Arc<Self>, String> {
        let files = Files::read(keys)?;
        let config = files.config(keys)?;
        let hasher = RandomState::new();
        let seen = Mutex::new(hasher.hash_one(&files));
        let current = ArcSwap::from(config);
        let server = Arc::new(ServerTls { keys: keys.clone(), owner: owner.into(), current, seen, hasher });
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&server));
        Ok(server)
    }

    /// Begins a session over `socket`, at which a client is expected to begin one too.
    ///
    /// Errors: no randomness.
    pub fn accept<S: Read + Write>(&self, socket: S) -> io::Result<Session<S>> {
        let connection = ServerConnection::new(self.current.load_full()).map_err(io::Error::other)?;
        Ok(Session::new(socket, connection))
    }

    /// Takes the files up if they are others than before. While they are wrong, or do not fit each other as they are
    /// replaced one by one, the last right ones stay in force. Sessions go on as they began.
    pub fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let files = Files::read(&self.keys);
        // Contents, not times: a file may be replaced twice within one tick of its clock, or by an older one.
        let now = self.hasher.hash_one(&files);
        if std::mem::replace(&mut *seen, now) == now {
            return;
        }
        match files.and_then(|files| files.config(&self.keys)) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!("{}: new certificate in use, from {}", self.owner, self.keys.cert.display());
            }
            Err(why) => tracing::warn!("{}: the old certificate stays in use: tls: {why}", self.owner),
        }
    }
}

/// The content of the files.
#[derive(Hash)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(keys: &ServerTlsKeys) -> Result<Self, String> {
        let read = |name: &str, path: &Path| pem::read(path).map_err(|why| format!("{name}: {why}"));
        Ok(Files {
            cert: read("cert", &keys.cert)?,
            key: read("key", &keys.key)?,
            client_ca: keys.client_ca.as_ref().map(|path| read("client_ca", path)).transpose()?,
        })
    }

    fn config(&self, keys: &ServerTlsKeys) -> Result<Arc<ServerConfig>, String> {
        let certificates = pem::certificates(&self.cert, &keys.cert).map_err(|why| format!("cert: {why}"))?;
        let key = pem::private_key(&self.key, &keys.key).map_err(|why| format!("key: {why}"))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?;
        let builder = match (&self.client_ca, &keys.client_ca) {
            (Some(pem), Some(path)) => {
                let roots = pem::roots(pem, path).map_err(|why| format!("client_ca: {why}"))?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| format!("client_ca: {error}"))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(certificates, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "the key in {} is not of the certificate in {}",
                    keys.key.display(),
                    keys.cert.display()
                )
            }
            error => format!("the certificate in {} cannot be used: {error}", keys.cert.display()),
        })?;
        // No tickets: TLS 1.3 would send them unasked, and a sender that never reads would reset the connection when it
        // closes it, which throws away what we have not read yet. A resumed session would not show its certificate
        // again either, and saves a tenth of a millisecond at most.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}
