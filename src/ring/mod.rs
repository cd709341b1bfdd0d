//! The lock-free MPMC queue between sources and workers.

pub mod credits;
pub mod sync;
pub mod wait;
