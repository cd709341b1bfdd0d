//! Where a source listens: the addresses of a config.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Longest path of a unix socket, in bytes (unix(7): 108 with its final NUL).
const UNIX_PATH_MAX: usize = 107;

/// An address to listen on; port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `tcp://ADDRESS:PORT`: connections.
    Tcp(SocketAddr),
    /// `tls://ADDRESS:PORT`: connections that begin with a TLS handshake.
    Tls(SocketAddr),
    /// `udp://ADDRESS:PORT`: datagrams.
    Udp(SocketAddr),
    /// `unix://PATH`: connections of processes of this host.
    Unix(PathBuf),
    /// `unixgram://PATH`: datagrams of processes of this host.
    Unixgram(PathBuf),
}

/// What of a host an address takes for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A port for connections.
    Tcp(SocketAddr),
    /// A port for datagrams.
    Udp(SocketAddr),
    /// A file.
    Path(PathBuf),
}

impl Listen {
    /// Reads an address; the error says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("tcp", rest)) => address("tcp://", rest).map(Listen::Tcp),
            Some(("tls", rest)) => address("tls://", rest).map(Listen::Tls),
            Some(("udp", rest)) => address("udp://", rest).map(Listen::Udp),
            Some(("unix", rest)) => path("unix://", rest).map(Listen::Unix),
            Some(("unixgram", rest)) => path("unixgram://", rest).map(Listen::Unixgram),
            _ => Err(
                "expected `tcp://`, `tls://` or `udp://`, an address and a port: `tcp://127.0.0.1:5514`; or \
                      `unix://` or `unixgram://` and a path: `unix:///run/app.sock`"
                    .into(),
            ),
        }
    }

    /// What two sources cannot both have; none where the system chooses.
    pub fn claim(&self) -> Option<Claim> {
        match self {
            Listen::Tcp(address) | Listen::Tls(address) => {
                (address.port() != 0).then_some(Claim::Tcp(*address))
            }
            Listen::Udp(address) => (address.port() != 0).then_some(Claim::Udp(*address)),
            Listen::Unix(path) | Listen::Unixgram(path) => Some(Claim::Path(path.clone())),
        }
    }

    /// What a client of HTTP is told: `http://ADDRESS:PORT/path`.
    pub fn as_url(&self, path: &str) -> String {
        match self {
            Listen::Tcp(address) => format!("http://{address}{path}"),
            Listen::Tls(address) => format!("https://{address}{path}"),
            other => other.to_string(),
        }
    }

    /// Whether the socket for one can go on as the other: what is spoken there is not the socket's affair.
    pub fn is_same_socket(&self, other: &Listen) -> bool {
        match (self, other) {
            (Listen::Tcp(one) | Listen::Tls(one), Listen::Tcp(other) | Listen::Tls(other)) => one == other,
            (one, other) => one == other,
        }
    }

    /// This address, which is bound, with what is spoken there as `asked` says.
    pub fn as_asked(&self, asked: &Listen) -> Listen {
        match (self, asked) {
            (Listen::Tcp(address), Listen::Tls(_)) => Listen::Tls(*address),
            (Listen::Tls(address), Listen::Tcp(_)) => Listen::Tcp(*address),
            (bound, _) => bound.clone(),
        }
    }

    /// Whether each message comes by itself.
    pub fn is_datagrams(&self) -> bool {
        matches!(self, Listen::Udp(_) | Listen::Unixgram(_))
    }
}

fn address(scheme: &str, rest: &str) -> Result<SocketAddr, String> {
    // The one name that always means the same. Others could resolve differently at every start.
    let numeric = match rest.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => rest.to_owned(),
    };
    if let Ok(address) = numeric.parse() {
        return Ok(address);
    }
    if rest.parse::<IpAddr>().is_ok() {
        let rest = if rest.contains(':') { format!("[{rest}]") } else { rest.to_owned() };
        return Err(format!("the port is missing: `{scheme}{rest}:5514`"));
    }
    if let Some(port) = rest.strip_prefix(':').or_else(|| rest.strip_prefix("*:")) {
        return Err(format!("the address is missing; all addresses are `{scheme}0.0.0.0:{port}`"));
    }
    Err(format!("expected a numeric address and a port up to 65535: `{scheme}127.0.0.1:5514`"))
}

fn path(scheme: &str, rest: &str) -> Result<PathBuf, String> {
    match rest.len() {
        0 => Err(format!("the path is missing: `{scheme}/run/app.sock`")),
        len if len > UNIX_PATH_MAX => {
            Err(format!("the path has {len} bytes, and the system takes {UNIX_PATH_MAX}"))
        }
        _ if rest.ends_with('/') || rest.contains('\0') => {
            Err(format!("expected the path of a socket: `{scheme}/run/app.sock`"))
        }
        _ => Ok(rest.into()),
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Tls(address) => write!(f, "tls://{address}"),
            Listen::Udp(address) => write!(f, "udp://{address}"),
            Listen::Unix(path) => write!(f, "unix://{}", path.display()),
            Listen::Unixgram(path) => write!(f, "unixgram://{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a list with at least one address.
pub fn listen_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    let listen = Vec::<Listen>::deserialize(deserializer)?;
    if listen.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one address such as `tcp://127.0.0.1:5514`"));
    }
    Ok(listen)
}

/// The error of a source that cannot listen, in the words of its user.
pub fn cannot_listen(source: &str, listen: &Listen, error: &io::Error) -> io::Error {
    let is_path = matches!(listen, Listen::Unix(_) | Listen::Unixgram(_));
    let why = match error.kind() {
        _ if error.raw_os_error().is_none() => error.to_string(),
        ErrorKind::AddrInUse => "address in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        ErrorKind::PermissionDenied if is_path => "not permitted to create the socket there".to_owned(),
        ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        ErrorKind::NotFound if is_path => "its directory does not exist".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("source {source}: cannot listen on {listen}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_and_printed_alike() {
        for text in [
            "tcp://127.0.0.1:5514",
            "tls://[::]:6514",
            "udp://0.0.0.0:0",
            "tcp://[::1]:514",
            "unix:///run/app.sock",
            "unixgram://relative/log",
        ] {
            assert_eq!(Listen::parse(text).map(|listen| listen.to_string()), Ok(text.into()));
        }
        assert_eq!(Listen::parse("udp://localhost:1").unwrap().to_string(), "udp://127.0.0.1:1");
    }

    #[test]
    fn a_bad_listen_address_says_what_is_missing() {
        let long = format!("unix:///{}", "x".repeat(107));
        let cases = [
            ("127.0.0.1:5514", "expected `tcp://`, `tls://` or `udp://`"),
            ("http://127.0.0.1:80", "expected `tcp://`, `tls://` or `udp://`"),
            ("tcp://127.0.0.1", "the port is missing: `tcp://127.0.0.1:5514`"),
            ("tcp://::1", "the port is missing: `tcp://[::1]:5514`"),
            ("udp://:514", "all addresses are `udp://0.0.0.0:514`"),
            ("tls://127.0.0.1:70000", "a port up to 65535"),
            ("tcp://example.com:514", "expected a numeric address"),
            ("tcp://", "expected a numeric address"),
            ("unix://", "the path is missing"),
            ("unixgram:///run/", "expected the path of a socket"),
            (&long, "the path has 108 bytes"),
        ];
        for (text, expected) in cases {
            let message = Listen::parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn one_port_is_one_claim_whatever_is_spoken_there() {
        let claim = |text: &str| Listen::parse(text).unwrap().claim();
        assert_eq!(claim("tcp://127.0.0.1:1"), claim("tls://127.0.0.1:1"));
        assert_ne!(claim("tcp://127.0.0.1:1"), claim("udp://127.0.0.1:1"));
        assert_eq!(claim("unix:///a"), claim("unixgram:///a"));
        assert_eq!(claim("tcp://127.0.0.1:0"), None);
    }
}
