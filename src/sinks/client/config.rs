//! The keys that say how to get to a destination; each sink that sends requests has them among its own.

use super::{ProxyAuth, TlsKeys, Url};
use crate::auth::Auth;
use std::time::Duration;

/// How to get to a destination, and how long it may take.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// Longest to find, reach and, by TLS, meet the destination.
    pub connect_timeout: Duration,
    /// Longest for all of one request, answer included.
    pub timeout: Duration,
    /// What the destination is shown.
    pub auth: Option<&'a Auth>,
    /// Whom we trust and who we are, for `https`.
    pub tls: Option<&'a TlsKeys>,
    /// A proxy to go through.
    pub proxy: Option<&'a Url>,
    /// What the proxy is shown.
    pub proxy_auth: Option<&'a ProxyAuth>,
}

/// The default of `connect_timeout`.
pub fn connect_timeout() -> Duration {
    Duration::from_secs(5)
}

/// The default of `timeout`.
pub fn timeout() -> Duration {
    Duration::from_secs(60)
}

impl Connect<'_> {
    /// What does not fit together: the key, what is wrong, what would be right.
    pub fn problem(&self, url: &Url) -> Option<(&'static str, String, String)> {
        let found = |key, message: &str, label: &str| Some((key, message.to_owned(), label.to_owned()));
        if self.tls.is_some() && !url.is_tls() {
            return found("tls", "`tls` has no effect: the `url` is not `https`", "expected an `https` url");
        }
        if self.proxy_auth.is_some() && self.proxy.is_none() {
            return found(
                "proxy_auth",
                "`proxy_auth` has no effect without `proxy`",
                "needs `proxy` beside it",
            );
        }
        if self.proxy.is_some_and(|proxy| !proxy.is_proxy()) {
            return found(
                "proxy",
                "a proxy is named by scheme, host and port",
                "expected `http://HOST:PORT`",
            );
        }
        None
    }
}
