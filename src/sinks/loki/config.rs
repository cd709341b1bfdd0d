//! The keys of a `loki` sink.

use super::line::LineFormat;
use crate::auth::Auth;
use crate::sinks::client::{self, Connect, ProxyAuth, TlsKeys, Url};
use crate::units::{self, Pairs};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Most labels of a Loki stream that are ever sent.
const LABELS_MAX: usize = 64;
/// Most fields that `structured_metadata` can name.
const FIELDS_MAX: usize = 128;

/// Batches pushed to Grafana Loki.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LokiSinkConfig {
    /// Loki's address; `/loki/api/v1/push` is added unless it ends in it.
    pub url: Url,
    /// How a push is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// A pattern for the tenant, sent as `X-Scope-OrgID`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Names of labels with patterns for their values. Not written: `source`, and all labels of the entry's stream.
    #[serde(default, deserialize_with = "labels")]
    pub labels: Option<Pairs<String>>,
    /// Most labels of one Loki stream; those behind go into structured metadata.
    #[serde(default = "max_labels", deserialize_with = "label_count")]
    pub max_labels: usize,
    /// Most Loki streams within half an hour; entries of further ones go to `{__overflow__="true"}`.
    #[serde(default = "max_streams", with = "units::count")]
    pub max_streams: usize,
    /// The fields that go into structured metadata.
    #[serde(default)]
    pub structured_metadata: Fields,
    /// How an entry is written in its line.
    #[serde(default)]
    pub format: LineFormat,
    /// What Loki is shown.
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
    /// Longest to find, reach and, by TLS, meet Loki.
    #[serde(default = "client::connect_timeout", with = "units::positive_duration")]
    pub connect_timeout: Duration,
    /// Longest for all of one request, answer included.
    #[serde(default = "client::timeout", with = "units::positive_duration")]
    pub timeout: Duration,
}

/// How a push is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Protobuf, packed by snappy.
    #[default]
    Protobuf,
    /// JSON, packed by gzip.
    Json,
}

/// Which fields of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// All of them.
    All,
    /// Those with these names.
    Named(Vec<String>),
}

impl Default for Fields {
    fn default() -> Self {
        Fields::Named(Vec::new())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fields::All => serializer.serialize_str("all"),
            Fields::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`all` or a list of at most 128 names of fields")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Fields, E> {
                match word {
                    "all" => Ok(Fields::All),
                    _ => Err(E::custom("expected `all` or a list of names of fields")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fields, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    if name.is_empty() || names.len() == FIELDS_MAX {
                        return Err(A::Error::custom(
                            "expected at most 128 names of fields, none of them empty",
                        ));
                    }
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Ok(Fields::Named(names))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl LokiSinkConfig {
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

    /// The values that are patterns, each with the keys that lead to it.
    pub fn patterns(&self) -> Vec<(Vec<&str>, &str)> {
        let tenant = self.tenant.iter().map(|tenant| (vec!["tenant"], tenant.as_str()));
        let labels = self.labels.iter().flat_map(|labels| &labels.0);
        tenant.chain(labels.map(|(name, value)| (vec!["labels", name.as_str()], value.as_str()))).collect()
    }

    /// What does not fit together: the key, what is wrong, what would be right.
    pub fn problem(&self) -> Option<(&'static str, String, String)> {
        self.connect().problem(&self.url)
    }
}

fn max_labels() -> usize {
    15
}

fn max_streams() -> usize {
    10_000
}

fn label_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer) {
        Ok(count @ 1..=LABELS_MAX) => Ok(count),
        _ => Err(D::Error::custom(
            "expected a whole number from 1 to 64; Loki itself allows 15 unless told otherwise",
        )),
    }
}

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Pairs<String>>, D::Error> {
    let pairs = Pairs::<String>::deserialize(deserializer)?;
    for (name, _) in &pairs.0 {
        let mut bytes = name.bytes();
        let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.len() > 1024 {
            let message =
                format!("`{name}` cannot be a label: expected letters, digits and `_`, not a digit first");
            return Err(D::Error::custom(message));
        }
        if name.starts_with("__") {
            return Err(D::Error::custom(format!(
                "`{name}` cannot be a label: Loki keeps names that begin with `__`"
            )));
        }
    }
    if pairs.0.is_empty() || pairs.0.len() > LABELS_MAX {
        return Err(D::Error::custom("expected 1 to 64 labels"));
    }
    Ok(Some(pairs))
}
