//! The `http` source and the server under it.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
