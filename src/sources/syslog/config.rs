//! The keys of the `syslog` source.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sources::net::listen::{Listen, listen_some};
use crate::sources::net::settings::{Datagram, Settings, load_tls};
pub use crate::time::zone::Zone;
use crate::tls::ServerTlsKeys;
use crate::units;

/// Syslog over TCP, TLS, UDP and unix sockets, RFC 3164 and RFC 5424.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSourceConfig {
    /// Where to listen: `tcp://127.0.0.1:5514`, `tls://0.0.0.0:6514`, `udp://[::1]:5514`, `unix:///run/log.sock`,
    /// `unixgram:///dev/log`; at least one.
    #[serde(deserialize_with = "listen_some")]
    pub listen: Vec<Listen>,
    /// The certificate for `tls://` addresses, its key, and whom clients must be known to.
    pub tls: Option<ServerTlsKeys>,
    /// A TLS handshake that takes longer is broken off.
    #[serde(default = "handshake_timeout", with = "units::positive_duration")]
    pub handshake_timeout: Duration,
    /// Who may connect to unix sockets: the mode of their files, in octal.
    #[serde(default = "socket_mode", with = "units::file_mode")]
    pub socket_mode: u32,
    /// Most connections at once; further ones are closed at once and counted.
    #[serde(default = "max_connections", with = "units::count")]
    pub max_connections: usize,
    /// Most connections of one address at once, so that one sender cannot take them all. The processes of this host
    /// that come by a unix socket count as one address.
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

impl SyslogSourceConfig {
    /// What the source called `name`, of the number `source`, is told. Reads the files of its `tls`.
    ///
    /// Errors name the source and the file.
    pub fn settings(&self, name: &str, source: SourceId, labels: Labels) -> Result<Settings, String> {
        Ok(Settings {
            source,
            listen: self.listen.clone(),
            tls: load_tls(self.tls.as_ref(), name)?,
            handshake_timeout: self.handshake_timeout,
            socket_mode: self.socket_mode,
            max_connections: self.max_connections,
            open: Allowance::default(),
            max_connections_per_address: self.max_connections_per_address,
            idle_timeout: self.idle_timeout,
            max_message: self.max_message,
            partial_memory: self.partial_memory,
            receive_buffer: self.receive_buffer,
            datagrams: Datagram::Message,
            labels,
        })
    }
}

/// How long a TLS handshake may take, if nothing else is said.
pub fn handshake_timeout() -> Duration {
    Duration::from_secs(10)
}

/// The mode of a unix socket, if nothing else is said: for its owner and group.
pub fn socket_mode() -> u32 {
    0o660
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
