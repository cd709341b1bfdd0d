//! What is read again while it runs.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
