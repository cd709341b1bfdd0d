//! What is taken out of HTTP bodies: the `loki` source.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
