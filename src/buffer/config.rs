//! A sink's `buffer` keys.

use super::{BufferSpec, Fsync};
use crate::units;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a sink's entries wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// In memory, or on disk.
    #[serde(rename = "type")]
    pub kind: BufferKind,
    /// Most bytes on disk.
    #[serde(with = "units::size")]
    pub max_size: usize,
    /// What becomes of entries while it is full.
    pub when_full: WhenFull,
    /// When what was written is forced to the disk.
    pub fsync: BufferFsync,
}

impl BufferConfig {
    /// Least `max_size`.
    pub const SIZE_MIN: usize = BufferSpec::MAX_SIZE_LEAST.next_multiple_of(1 << 20) as usize;

    /// Whether it is on disk.
    pub fn is_on_disk(&self) -> bool {
        self.kind == BufferKind::Disk
    }

    /// The buffer on disk in `dir`.
    pub fn spec(&self, dir: PathBuf) -> BufferSpec {
        BufferSpec { fsync: self.fsync.into(), ..BufferSpec::new(dir, self.max_size as u64) }
    }
}

impl Default for BufferConfig {
    fn default() -> Self {
        BufferConfig {
            kind: BufferKind::Memory,
            max_size: 1 << 30,
            when_full: WhenFull::Block,
            fsync: BufferFsync::Group,
        }
    }
}

/// Where entries wait for their sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferKind {
    /// In memory: a share of `quotas.max_memory`.
    Memory,
    /// On disk, in `DATA_DIR/buffer/SINK`.
    Disk,
}

/// What becomes of entries while a buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum WhenFull {
    /// They wait, and their sources with them.
    Block = 0,
    /// The oldest on disk are dropped, counted.
    DropOldest = 1,
    /// They are dropped, counted.
    DropNewest = 2,
}

impl WhenFull {
    /// The one with this number.
    pub fn from_code(code: u8) -> Self {
        [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest][usize::from(code).min(2)]
    }

    /// Its word in the config.
    pub fn name(self) -> &'static str {
        ["block", "drop_oldest", "drop_newest"][self as usize]
    }
}

/// When what was written to a buffer is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferFsync {
    /// After 50 ms or 1 MiB, whichever comes first; only then sources hear of it.
    Group,
    /// At once, whatever there is.
    Always,
    /// With the checkpoint, once a second. Sources hear of it as soon as it is written.
    None,
}

impl From<BufferFsync> for Fsync {
    fn from(fsync: BufferFsync) -> Fsync {
        match fsync {
            BufferFsync::Group => Fsync::Group,
            BufferFsync::Always => Fsync::Always,
            BufferFsync::None => Fsync::None,
        }
    }
}
