//! Dead letters on disk: what a sink or a step refused, kept with the reason, to be read, edited and given again.
//!
//! A letter is one record (several if it is very large) in a buffer of its own below the data directory, synced before
//! whoever gave it away may forget it. It goes when it was given again and taken, when its time is over, or when a limit
//! makes room for newer ones, which is counted. Not here: who refuses what (see `delivery` and `worker`), and the thread
//! that gives letters again (see `engine`).

pub mod again;
mod bytes;
pub mod config;
pub mod edit;
pub mod filter;
pub mod given_up;
pub mod index;
pub mod letter;
pub mod numbers;
pub mod pieces;
pub mod read;
pub mod show;
pub mod store;

pub use bytes::Malformed;
