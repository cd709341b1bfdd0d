//! The keys of the `loki` source: those of `http`, on whose server it runs, and one of its own.

use super::service::LokiService;
use crate::auth::Auth;
use crate::labels::{Labels, SourceId};
use crate::sources::http::config::{self as http, HttpSourceConfig};
use crate::sources::net::http::{HttpSettings, Promise};
use crate::sources::net::listen::{Listen, listen_some};
use crate::tls::ServerTlsKeys;
use crate::units::{self, Auto, Pairs};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// What clients of Loki push: protobuf and JSON.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LokiSourceConfig {
    /// Where to listen, as for `http`; at least one.
    #[serde(deserialize_with = "listen_some")]
    pub listen: Vec<Listen>,
    /// The label that the tenant of a request (`X-Scope-OrgID`) becomes, over all others; `""` for none.
    #[serde(default = "tenant_label", deserialize_with = "label")]
    pub tenant_label: String,
    /// As for `http`.
    pub tls: Option<ServerTlsKeys>,
    /// As for `http`.
    pub auth: Option<Auth>,
    /// As for `http`.
    #[serde(default)]
    pub ack: Option<Promise>,
    /// As for `http`.
    #[serde(default = "http::ack_timeout", with = "units::positive_duration")]
    pub ack_timeout: Duration,
    /// Longest line in bytes; a longer one is cut there and marked.
    #[serde(default = "http::max_entry", with = "units::line_size")]
    pub max_entry: usize,
    /// As for `http`.
    #[serde(default = "http::max_body", with = "units::size")]
    pub max_body: usize,
    /// As for `http`.
    #[serde(default = "http::max_inflated", with = "units::size")]
    pub max_inflated: usize,
    /// As for `http`.
    #[serde(default = "http::body_memory", with = "units::size")]
    pub body_memory: usize,
    /// As for `http`.
    #[serde(default, with = "units::threads_or_auto")]
    pub decoders: Auto<usize>,
    /// As for `http`.
    #[serde(default = "http::socket_mode", with = "units::file_mode")]
    pub socket_mode: u32,
    /// As for `http`.
    #[serde(default = "http::max_connections", with = "units::count")]
    pub max_connections: usize,
    /// As for `http`.
    #[serde(default = "http::max_connections_per_address", with = "units::count")]
    pub max_connections_per_address: usize,
    /// As for `http`.
    #[serde(default = "http::header_timeout", with = "units::positive_duration")]
    pub header_timeout: Duration,
    /// As for `http`.
    #[serde(default = "http::min_body_rate", with = "units::size")]
    pub min_body_rate: usize,
    /// As for `http`.
    #[serde(default = "http::idle_timeout", with = "units::positive_duration")]
    pub idle_timeout: Duration,
}

impl LokiSourceConfig {
    /// The keys it shares with `http`, as those of such a source.
    pub fn server(&self) -> HttpSourceConfig {
        HttpSourceConfig {
            listen: self.listen.clone(),
            tls: self.tls.clone(),
            auth: self.auth.clone(),
            paths: Pairs::default(),
            header_labels: Pairs::default(),
            ack: self.ack,
            ack_timeout: self.ack_timeout,
            max_entry: self.max_entry,
            max_body: self.max_body,
            max_inflated: self.max_inflated,
            body_memory: self.body_memory,
            decoders: self.decoders,
            socket_mode: self.socket_mode,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            header_timeout: self.header_timeout,
            min_body_rate: self.min_body_rate,
            idle_timeout: self.idle_timeout,
        }
    }

    /// What the source called `name`, of the number `source`, is told. Reads the files of its `tls`.
    ///
    /// Errors name the source and the file.
    pub fn settings(&self, name: &str, source: SourceId, labels: Labels) -> Result<HttpSettings, String> {
        Ok(HttpSettings { kind: "loki", ..self.server().settings(name, source, labels)? })
    }

    /// What is made of requests.
    pub fn service(&self) -> LokiService {
        let told = Some(self.tenant_label.as_str()).filter(|name| !name.is_empty());
        LokiService { tenant_label: told.map(Into::into) }
    }
}

fn tenant_label() -> String {
    "tenant".into()
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let mut letters = name.bytes();
    let first = letters.next().is_none_or(|first| first.is_ascii_alphabetic() || first == b'_');
    match first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_') {
        true => Ok(name),
        false => Err(D::Error::custom("expected a label's name, [a-zA-Z_][a-zA-Z0-9_]*, or `\"\"` for none")),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    /// Every key of both sources, none with its default.
    fn keys() -> Map<String, Value> {
        let keys = json!({
            "listen": ["tcp://127.0.0.1:1"], "tls": { "cert": "c", "key": "k" }, "auth": { "bearer": "b" },
            "ack": "accepted", "ack_timeout": "7s", "max_entry": "7KiB", "max_body": "8KiB", "max_inflated": "9KiB",
            "body_memory": "77KiB", "decoders": 3, "socket_mode": "0600", "max_connections": 5,
            "max_connections_per_address": 4, "header_timeout": "2s", "min_body_rate": "3KiB", "idle_timeout": "5s",
        });
        keys.as_object().unwrap().clone()
    }

    #[test]
    fn every_key_of_the_server_is_passed_on() {
        let loki: LokiSourceConfig = serde_json::from_value(keys().into()).unwrap();
        let http: HttpSourceConfig = serde_json::from_value(keys().into()).unwrap();
        let none = |http: HttpSourceConfig| HttpSourceConfig {
            paths: Pairs::default(),
            header_labels: Pairs::default(),
            ..http
        };
        assert_eq!(loki.server(), none(http));
        // And by default they are what they are there.
        let listen = json!({ "listen": ["tcp://127.0.0.1:1"] });
        let loki: LokiSourceConfig = serde_json::from_value(listen.clone()).unwrap();
        let usual: HttpSourceConfig = serde_json::from_value(listen).unwrap();
        assert_eq!(loki.server(), none(usual.clone()));
        let differs = serde_json::to_value(usual).unwrap();
        let all =
            serde_json::to_value(serde_json::from_value::<HttpSourceConfig>(keys().into()).unwrap()).unwrap();
        for (key, value) in differs.as_object().unwrap() {
            let ours = !["listen", "paths", "header_labels"].contains(&key.as_str());
            assert!(!ours || all[key] != *value, "{key} is not among the keys tried here");
        }
    }

    #[test]
    fn the_tenant_s_label_is_a_label_or_none() {
        let read = |name: &str| {
            let keys = json!({ "listen": ["tcp://127.0.0.1:1"], "tenant_label": name });
            serde_json::from_value::<LokiSourceConfig>(keys).map(|loki| loki.service().tenant_label)
        };
        assert_eq!(read("org_1").unwrap().as_deref(), Some("org_1"));
        assert_eq!(read("").unwrap(), None);
        for wrong in ["a b", "1a", "a-b", "a\n"] {
            assert!(read(wrong).unwrap_err().to_string().contains("expected a label's name"), "{wrong}");
        }
    }
}
