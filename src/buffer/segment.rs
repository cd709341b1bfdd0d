//! A segment's name and header.

/// The major version of the format that we write, and the only one we read.
pub const MAJOR: u16 = 1;
