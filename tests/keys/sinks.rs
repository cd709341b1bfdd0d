//! The `loki` and `http` sinks.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
