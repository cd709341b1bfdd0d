//! The keys of an `http` sink.

use super::body::BodyFormat;
use super::headers::is_secret;
use crate::auth::Auth;
use crate::secret::Secret;
use crate::sinks::client::{self, Compression, Connect, Level, ProxyAuth, TlsKeys, Url};
use crate::units::{self, Pairs};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;
use ureq::http::HeaderName;

/// Batches sent to any HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSinkConfig {
    /// Where to, `http` or `https`. Never made of what entries say.
    pub url: Url,
    /// How.
    #[serde(default)]
    pub method: Method,
    /// How entries stand in a body.
    #[serde(default)]
    pub body: BodyFormat,
    /// Further headers; values are patterns. Entries whose headers differ are sent apart.
    #[serde(default, deserialize_with = "headers", serialize_with = "shown")]
    pub headers: Pairs<String>,
    /// How bodies are packed.
    #[serde(default)]
    pub compression: Compression,
    /// How hard: 1, the fastest, unless said otherwise.
    #[serde(default)]
    pub compression_level: Option<Level>,
    /// What the destination is shown.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Whom we trust and who we are.
    #[serde(default)]
    pub tls: Option<TlsKeys>,
    /// A proxy to go through; none is taken from the environment.
    #[serde(default)]
    pub proxy: Option<Url>,
    /// What the proxy is shown.
    #[serde(default)]
    pub proxy_auth: Option<ProxyAuth>,
    /// Longest to find, reach and, by TLS, meet the destination.
    #[serde(default = "client::connect_timeout", with = "units::positive_duration")]
    pub connect_timeout: Duration,
    /// Longest for all of one request, answer included.
    #[serde(default = "client::timeout", with = "units::positive_duration")]
    pub timeout: Duration,
}

/// How requests are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `POST`.
    #[default]
    Post,
    /// `PUT`.
    Put,
}

impl HttpSinkConfig {
    /// How to get there.
    pub fn connect(&self) -> Connect<'_> {
        Connect {
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            auth: self.auth.as_ref(),
            tls: self.tls.as_ref(),
            proxy: self.proxy.as_ref(),
            proxy_auth: self.proxy_auth.as_ref(),
        }
    }

    /// The headers that are patterns: all but credentials.
    pub fn patterns(&self) -> Vec<(Vec<&str>, &str)> {
        let open = self.headers.0.iter().filter(|(name, _)| !is_secret_name(name));
        open.map(|(name, value)| (vec!["headers", name.as_str()], value.as_str())).collect()
    }

    /// What does not fit together: the key, what is wrong, what would be right.
    pub fn problem(&self) -> Option<(&'static str, String, String)> {
        let level = self.compression.problem(self.compression_level);
        let level = level.map(|(message, label)| ("compression_level", message.into(), label.into()));
        let has_authorization =
            self.headers.0.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let twice = (has_authorization && self.auth.is_some()).then(|| {
            (
                "headers",
                "`auth` and a header `Authorization` exclude each other".into(),
                "take one of them".into(),
            )
        });
        self.connect().problem(&self.url).or(level).or(twice)
    }
}

/// What the client, or a key of its own, writes.
const OURS: &[(&str, &str)] = &[
    ("content-length", "it is counted"),
    ("transfer-encoding", "bodies are sent whole"),
    ("connection", "connections are kept by themselves"),
    ("host", "it follows from the `url`"),
    ("expect", "bodies are sent at once"),
    ("te", "it is not offered"),
    ("trailer", "there are none"),
    ("upgrade", "it is not offered"),
    ("accept-encoding", "it is chosen"),
    ("content-encoding", "use `compression`"),
    ("proxy-authorization", "use `proxy_auth`"),
];

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<String>, D::Error> {
    let mut pairs = Pairs::<String>::deserialize(deserializer)?;
    let mut seen = Vec::new();
    for (name, value) in &mut pairs.0 {
        let Ok(known) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(D::Error::custom(format_args!("`{name}` cannot be the name of a header")));
        };
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| *ours == known.as_str()) {
            return Err(D::Error::custom(format_args!("the header `{name}` is not to be set: {why}")));
        }
        if value.bytes().any(|byte| byte != b'\t' && !(b' '..=b'~').contains(&byte)) {
            return Err(D::Error::custom(format_args!(
                "the header `{name}` must be of printable ASCII characters"
            )));
        }
        if seen.contains(&known) {
            return Err(D::Error::custom(format_args!("the header `{name}` is there twice")));
        }
        if is_secret(&known) {
            let read = Secret::read(value);
            *value = read
                .map_err(|why| D::Error::custom(format_args!("the header `{name}` {why}")))?
                .expose()
                .into();
        }
        seen.push(known);
    }
    Ok(pairs)
}

/// Headers, but for those that let in.
fn shown<S: Serializer>(headers: &Pairs<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let value =
        |name: &str, value: &String| if is_secret_name(name) { "(hidden)".into() } else { value.clone() };
    let shown = headers.0.iter().map(|(name, text)| (name.clone(), value(name, text)));
    Pairs(shown.collect()).serialize(serializer)
}

fn is_secret_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_secret(&name))
}
