//! The keys of the `syslog` source.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::steps::zone::Zone;
use crate::units;

/// Syslog over TCP and UDP, RFC 3164 and RFC 5424.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSourceConfig {
    /// Where to listen: `tcp://127.0.0.1:5514`, `udp://[::1]:5514`; at least one.
    #[serde(deserialize_with = "listen_some")]
    pub listen: Vec<ListenAddress>,
    /// Most TCP connections at once; further ones are closed at once and counted.
    #[serde(default = "max_connections", with = "units::count")]
    pub max_connections: usize,
    /// Most TCP connections of one address at once, so that one sender cannot take them all.
    #[serde(default = "max_connections_per_address", with = "units::count")]
    pub max_connections_per_address: usize,
    /// A connection that sends nothing for this long is closed.
    #[serde(default = "idle_timeout", with = "units::positive_duration")]
    pub idle_timeout: Duration,
    /// Longest message in bytes; a longer one is cut there and marked.
    #[serde(default = "max_message", with = "units::line_size")]
    pub max_message: usize,
    /// Most memory for messages that have not fully arrived, over all connections.
    #[serde(default = "partial_memory", with = "units::size")]
    pub partial_memory: usize,
    /// The receive buffer asked of the kernel for each UDP socket.
    #[serde(default = "receive_buffer", with = "units::size")]
    pub receive_buffer: usize,
    /// The zone of RFC 3164 timestamps, which carry none: `local`, `utc` or a name such as `Europe/Berlin`.
    #[serde(default)]
    pub timezone: Zone,
}

fn max_connections() -> usize {
    1024
}

fn max_connections_per_address() -> usize {
    256
}

// Long on purpose: syslog clients keep a connection open for days and notice a closed one only by losing a message.
fn idle_timeout() -> Duration {
    Duration::from_secs(600)
}

fn max_message() -> usize {
    64 << 10
}

fn partial_memory() -> usize {
    16 << 20
}

fn receive_buffer() -> usize {
    4 << 20
}

/// A socket to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// Stream or datagrams.
    pub transport: Transport,
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
}

/// How bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A stream of framed messages (RFC 6587).
    Tcp,
    /// One message per datagram (RFC 5426).
    Udp,
}

impl ListenAddress {
    /// Reads `tcp://ADDRESS:PORT` or `udp://ADDRESS:PORT`; the error says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (transport, rest) = match text.split_once("://") {
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("udp", rest)) => (Transport::Udp, rest),
            _ => {
                return Err(
                    "expected `tcp://` or `udp://`, an address and a port: `tcp://127.0.0.1:5514`".into()
                );
            }
        };
        // The one name that always means the same. Others could resolve differently at every start.
        let numeric = match rest.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => rest.to_owned(),
        };
        if let Ok(address) = numeric.parse() {
            return Ok(ListenAddress { transport, address });
        }
        let name = &text[..text.len() - rest.len()];
        if rest.parse::<std::net::IpAddr>().is_ok() {
            let rest = if rest.contains(':') { format!("[{rest}]") } else { rest.to_owned() };
            return Err(format!("the port is missing: `{name}{rest}:5514`"));
        }
        if let Some(port) = rest.strip_prefix(':').or_else(|| rest.strip_prefix("*:")) {
            return Err(format!("the address is missing; all addresses are `{name}0.0.0.0:{port}`"));
        }
        Err(format!("expected a numeric address and a port up to 65535: `{name}127.0.0.1:5514`"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}://{}", self.address)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn listen_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ListenAddress>, D::Error> {
    let listen = Vec::<ListenAddress>::deserialize(deserializer)?;
    if listen.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one address such as `tcp://127.0.0.1:5514`"));
    }
    Ok(listen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_and_printed_alike() {
        for text in ["tcp://127.0.0.1:5514", "udp://0.0.0.0:0", "tcp://[::1]:514"] {
            assert_eq!(ListenAddress::parse(text).map(|listen| listen.to_string()), Ok(text.into()));
        }
        assert_eq!(ListenAddress::parse("udp://localhost:1").unwrap().address.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn a_bad_listen_address_says_what_is_missing() {
        let cases = [
            ("127.0.0.1:5514", "expected `tcp://` or `udp://`"),
            ("http://127.0.0.1:80", "expected `tcp://` or `udp://`"),
            ("tcp://127.0.0.1", "the port is missing: `tcp://127.0.0.1:5514`"),
            ("tcp://::1", "the port is missing: `tcp://[::1]:5514`"),
            ("udp://:514", "all addresses are `udp://0.0.0.0:514`"),
            ("tcp://127.0.0.1:70000", "a port up to 65535"),
            ("tcp://example.com:514", "expected a numeric address"),
            ("tcp://", "expected a numeric address"),
        ];
        for (text, expected) in cases {
            let message = ListenAddress::parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
