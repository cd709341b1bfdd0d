//! The HTTP client of all sinks that send requests: one destination, a pool of connections, a deadline for everything.
//!
//! It makes one exchange and tells what came of it. Nothing the destination says can cost more than its limits: no
//! redirect is followed, an answer's head has at most [`HEAD_MAX`] bytes and its body at most [`ANSWER_MAX`], whatever
//! it is packed in, and the whole exchange ends at the deadline however slowly bytes drip. No setting is taken from the
//! environment.
//!
//! Not here: what an answer means for a batch (see `verdict`).

mod compress;
mod config;
mod errors;
mod exchange;
mod groups;
mod proxy;
mod tls;
mod url;
mod verdict;

#[cfg(test)]
#[path = "../../../tests/support/destination.rs"]
pub mod destination;
#[cfg(test)]
pub mod outside;
#[cfg(test)]
mod tests;

pub use compress::{Compression, Level, Packer};
pub use config::{Connect, connect_timeout, timeout};
pub use exchange::exchange;
pub use groups::{Groups, Keys, Place, Scope, Span};
pub use proxy::ProxyAuth;
pub use tls::TlsKeys;
pub use ureq::http::Method;
pub use url::Url;
pub use verdict::{Verdict, judge};

use crate::auth::Auth;
use proxy::{ProxyConnector, Via};
use std::io::Read;
use std::time::{Duration, SystemTime};
use tls::{Tls, TlsConnector};
use ureq::http::header::{AUTHORIZATION, DATE, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, Request, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

/// Most bytes of an answer's head.
pub const HEAD_MAX: usize = 16 << 10;
/// Most bytes of an answer's body that are read, unpacked. One with more is cut there, and its connection closed.
pub const ANSWER_MAX: usize = 1 << 20;

/// What a client is told.
pub struct Settings<'a> {
    /// Where to.
    pub url: &'a Url,
    /// How: `POST` or `PUT`.
    pub method: Method,
    /// How to get there, and how long it may take.
    pub connect: Connect<'a>,
    /// Most requests at once; as many idle connections are kept.
    pub connections: usize,
}

/// One destination.
pub struct Client {
    agent: Agent,
    method: Method,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long we are asked to stay away.
    pub retry_after: Option<Duration>,
    /// At most [`ANSWER_MAX`] bytes of the body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// Errors: a certificate or key cannot be read or used; says which.
    pub fn new(settings: Settings<'_>) -> Result<Self, String> {
        let Settings { url, method, connect, connections } = settings;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("ringmain/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(connect.timeout))
            .timeout_resolve(Some(connect.connect_timeout))
            .timeout_connect(Some(connect.connect_timeout))
            .max_response_header_size(HEAD_MAX)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .build();
        let tls = match url.is_tls() {
            true => Some(Tls::load(connect.tls)?),
            false => None,
        };
        let agent = match connect.proxy {
            None => {
                let connector = ().chain(TcpConnector::default()).chain(TlsConnector::new(tls));
                Agent::with_parts(config, connector, DefaultResolver::default())
            }
            Some(proxy) => {
                let through = ProxyConnector::new(connect.proxy_auth);
                let tcp = ().chain(TcpConnector::default());
                let connector = tcp.chain(through).chain(TlsConnector::new(tls));
                Agent::with_parts(config, connector, Via::new(proxy.uri().clone()))
            }
        };
        let authorization = connect.auth.map(authorization).transpose()?;
        Ok(Client { agent, method, uri: url.uri().clone(), authorization })
    }

    /// Sends `body` and reads the answer.
    ///
    /// Errors: there was no whole answer; what happened instead, in words. The destination may have taken the body.
    pub fn send(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Result<Answer, String> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let mut response = self.agent.run(request).map_err(errors::explain)?;
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (asked, date) = (header(RETRY_AFTER), header(DATE));
        let retry_after = asked.and_then(|asked| verdict::retry_after(asked, date, SystemTime::now()));
        let status = response.status().as_u16();
        Ok(Answer { status, retry_after, body: read(response.body_mut()) })
    }
}

/// The body, or as much of it as came: an answer is its status, the body only explains it.
fn read(body: &mut Body) -> Vec<u8> {
    let mut read = Vec::new();
    // An error leaves what was read before it.
    let _ = body.as_reader().take(ANSWER_MAX as u64).read_to_end(&mut read);
    read
}

fn authorization(auth: &Auth) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(auth.header().expose());
    let mut value = value.map_err(|_| "`auth` cannot be written in a header")?;
    // It is not shown when the header is.
    value.set_sensitive(true);
    Ok(value)
}
