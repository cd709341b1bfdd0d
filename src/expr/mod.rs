//! Conditions over entries: `when`, `discard`.
