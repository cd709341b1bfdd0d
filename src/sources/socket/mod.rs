//! Messages of any kind over TCP, TLS, UDP and unix sockets, told apart as the config says.

pub mod config;
mod framing;
pub mod prefix;
pub mod source;
