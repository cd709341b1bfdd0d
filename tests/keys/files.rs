//! The `file` sink: rotation and retention.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
