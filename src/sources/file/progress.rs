//! Which bytes of a file are safe.

use crate::checkpoint::Edge;

/// The stretches of one file that are on their way.
pub type Progress = crate::sources::progress::Progress<Point>;

/// A place in a file that reading could begin again from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Which byte.
    pub offset: u64,
    /// What stands before it.
    pub edge: Edge,
    /// CRC32C of the bytes before it, as in [`crate::checkpoint::Position`].
    pub tail_crc: u32,
}
