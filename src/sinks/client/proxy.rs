//! The way through a proxy: `CONNECT` (RFC 9110, 9.3.6), whatever the destination speaks behind it.
//!
//! The proxy looks up the destination's name; we look up the proxy's.

use super::tls::remaining;
use crate::auth::Auth;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::{Read, Write};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, Transport, TransportAdapter};

/// Most bytes of a proxy's answer.
const HEAD_MAX: usize = 8 << 10;

/// What a proxy is shown: a name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProxyAuth(Auth);

impl<'de> Deserialize<'de> for ProxyAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Auth::deserialize(deserializer)? {
            basic @ Auth::Basic { .. } => Ok(ProxyAuth(basic)),
            Auth::Bearer(_) => Err(D::Error::custom("a proxy is shown `username` and `password`")),
        }
    }
}

/// Resolves the proxy wherever requests go.
#[derive(Debug)]
pub(super) struct Via {
    proxy: Uri,
    resolver: DefaultResolver,
}

impl Via {
    pub(super) fn new(proxy: Uri) -> Self {
        Via { proxy, resolver: DefaultResolver::default() }
    }
}

impl Resolver for Via {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(&self.proxy, config, timeout)
    }
}

/// Asks the proxy at the other end of a connection to pass it on.
pub(super) struct ProxyConnector {
    authorization: Option<crate::secret::Secret>,
}

impl ProxyConnector {
    pub(super) fn new(auth: Option<&ProxyAuth>) -> Self {
        ProxyConnector { authorization: auth.map(|auth| auth.0.header()) }
    }
}

impl std::fmt::Debug for ProxyConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProxyConnector")
    }
}

impl<In: Transport> Connector<In> for ProxyConnector {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        let mut proxy = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        proxy.set_timeout(remaining(details));
        let host = details.uri.host().unwrap_or_default();
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            ask += &format!("Proxy-Authorization: {}\r\n", authorization.expose());
        }
        ask += "\r\n";
        proxy.write_all(ask.as_bytes())?;
        let failed = |why: String| Err(Error::ConnectProxyFailed(why));
        match answered(&mut proxy)? {
            Some(200..300) => Ok(Some(proxy.into_inner())),
            Some(407) => failed("the proxy answers 407: it wants other credentials than `proxy_auth`".into()),
            Some(status) => failed(format!("the proxy answers {status}")),
            None => failed("the proxy's answer is no HTTP/1.1".into()),
        }
    }
}

/// Reads the head of an answer and gives its status. Byte by byte: what follows it is the destination's.
fn answered(proxy: &mut impl Read) -> Result<Option<u16>, Error> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_MAX || proxy.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    Ok(response.parse(&head).ok().and(response.code))
}
