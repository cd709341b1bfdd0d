//! The `socket` source, TLS, and Unix sockets.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
