//! Steps, conditions and multi-line framing.

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[];
