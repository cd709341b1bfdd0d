//! TLS: rustls with the `ring` provider, versions 1.2 and 1.3 and no older one.
//!
//! [`ServerTls`] is what a listener is told by its `tls:` keys: a certificate, its key, and who may come. It takes new
//! files up without a restart. A [`Session`] is one connection of it over a socket that does not wait: it is read and
//! written like the socket itself. What clients (sinks) need of it is [`provider`] and the readers in [`pem`].
//! Not here: sockets, deadlines and how many handshakes may go on at once (see `sources::net`).

pub mod pem;
mod server;
mod session;

pub use server::{ServerTls, ServerTlsKeys, refresh_certificates};
pub use session::Session;

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// The cryptography everything of ours uses, servers and clients alike.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

#[cfg(test)]
#[path = "../../tests/support/tls.rs"]
#[allow(dead_code, missing_docs, reason = "the whole-pipeline tests use it too")]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
