//! The keys of the `socket` source.

use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sources::multiline::config::{MultilineConfig, multiline};
use crate::sources::net::listen::{Listen, listen_some};
use crate::sources::net::settings::{Datagram, Settings, load_tls};
use crate::sources::syslog::config::{handshake_timeout, socket_mode};
use crate::tls::ServerTlsKeys;
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Messages of any kind over TCP, TLS, UDP and unix sockets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SocketSourceConfig {
    /// Where to listen: `tcp://127.0.0.1:9000`, `tls://0.0.0.0:9443`, `udp://[::1]:9000`, `unix:///run/app.sock`,
    /// `unixgram:///run/app.log`; at least one.
    #[serde(deserialize_with = "listen_some")]
    pub listen: Vec<Listen>,
    /// How the messages of a connection are told apart.
    #[serde(default)]
    pub framing: SocketFraming,
    /// Which lines of a connection are one message, where framing is by newlines; absent: each is one.
    #[serde(default, deserialize_with = "multiline", skip_serializing_if = "Option::is_none")]
    pub multiline: Option<MultilineConfig>,
    /// What a datagram holds: one message, or lines.
    #[serde(default)]
    pub datagrams: Datagram,
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
    /// A connection that completes no message for this long is closed.
    #[serde(default = "idle_timeout", with = "units::positive_duration")]
    pub idle_timeout: Duration,
    /// Longest message in bytes. A longer line or datagram is cut there and marked; a longer length ends the connection.
    #[serde(default = "max_message", with = "units::line_size")]
    pub max_message: usize,
    /// Most memory for messages that have not fully arrived, over all connections.
    #[serde(default = "partial_memory", with = "units::size")]
    pub partial_memory: usize,
    /// The receive buffer asked of the kernel for each UDP socket.
    #[serde(default = "receive_buffer", with = "units::size")]
    pub receive_buffer: usize,
}

/// How the messages of a connection are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketFraming {
    /// Each ends in LF or CR LF.
    #[default]
    Newline,
    /// Each ends in a NUL byte and may hold newlines.
    Nul,
    /// Each has its length and a space in front, in decimal digits (RFC 6587, 3.4.1).
    OctetCount,
    /// Each has its length in front, in four bytes, the most significant first.
    LengthPrefix,
}

fn max_connections() -> usize {
    1024
}

fn max_connections_per_address() -> usize {
    256
}

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

impl SocketSourceConfig {
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
            datagrams: self.datagrams,
            labels,
        })
    }
}
