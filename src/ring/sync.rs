//! Placeholder, replaced by the ring branch.
pub use std::sync::atomic;
