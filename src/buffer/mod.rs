//! A queue of records on disk, for one sink or for the dead letters.
//!
//! Records go in at one end ([`Writer`]), come out at the other ([`Reader`]), and are gone once everything before them
//! and they themselves are done ([`Buffer::complete`]). What [`Writer::sync`] has returned for survives a power cut.
//! Segments are appended to, sealed, and removed whole; nothing is rewritten in place but the two slots of the state.
//!
//! What is promised, whatever the bytes on disk are: opening never panics and never waits for ever; nothing unread is
//! deleted; damage costs the damaged records and no others, and their entries are counted exactly, because every record
//! says the number of its first entry.
//!
//! The pieces: [`record`], [`segment`] and [`state`] are the bytes (also in `docs/format.md`), [`scan`] finds records
//! in them, `recover` opens a directory, `progress` decides what is done. Not here: what a record's payload means, when
//! to sync, what to do when it is full, and who waits for whom (see `lane`).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of an entry in its buffer: it rises by one per entry and is never used twice. A record has that of its
/// first entry.
pub type Seq = u64;

/// Most bytes of one record's payload.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// When written records are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fsync {
    /// [`Writer::sync`] makes durable; the caller lets a group gather before it calls.
    #[default]
    Group,
    /// The same; the caller does not wait for a group.
    Always,
    /// [`Writer::sync`] only writes: enough after the death of the process, not after a power cut. [`Buffer::flush`]
    /// makes durable.
    None,
}

/// What the payloads of a buffer are. Kept in every segment, for the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Content {
    /// Entries for a sink.
    #[default]
    Entries = 1,
    /// Dead letters.
    Letters = 2,
}

/// Where a buffer is and how large it may be.
#[derive(Clone, Debug)]
pub struct BufferSpec {
    /// Its directory; created if missing. Nothing else should be in it.
    pub dir: PathBuf,
    /// Most bytes of segments on disk, the reserve counted. The state (1 KiB) and the quarantine are not.
    pub max_size: u64,
    /// Bytes of one segment, reserved when it is created. See [`BufferSpec::new`] for what is usual.
    pub segment_size: u64,
    /// When written records are made durable.
    pub fsync: Fsync,
    /// What the payloads are.
    pub content: Content,
    /// Most bytes of damaged ranges that are copied aside.
    pub quarantine_max: u64,
}

impl BufferSpec {
    /// Bytes of a segment, unless the buffer is smaller than eight of them.
    pub const SEGMENT_SIZE: u64 = 16 << 20;
    /// Least size of a buffer: eight segments that hold a largest record each.
    pub const MAX_SIZE_LEAST: u64 = 8 * (PAYLOAD_MAX as u64 + 4096);

    /// A buffer with the usual segments: 16 MiB, or an eighth of a smaller buffer.
    pub fn new(dir: PathBuf, max_size: u64) -> BufferSpec {
        BufferSpec {
            dir,
            max_size,
            segment_size: Self::SEGMENT_SIZE.min(max_size / 8),
            fsync: Fsync::Group,
            content: Content::Entries,
            quarantine_max: 64 << 20,
        }
    }
}

/// An open buffer, in three hands: one thread writes, one reads, anybody completes and looks.
pub struct Opened {
    /// Takes records.
    pub writer: Writer,
    /// Gives them, from the first that is not done.
    pub reader: Reader,
    /// Hears what is done.
    pub shared: Arc<Buffer>,
    /// What was there.
    pub found: Found,
}

/// What [`Buffer::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Entries that are not done. The reader will give them, or count them in [`BufferView::lost_entries`]: the sum is
    /// exact, though only the last segment was read.
    pub entries: u64,
    /// Bytes of segments on disk.
    pub bytes: u64,
    /// Segments on disk.
    pub segments: usize,
    /// Bytes of damaged ranges that lie in the quarantine, from this start and earlier ones.
    pub quarantined_bytes: u64,
    /// What was unusual, one sentence each: already logged as warnings.
    pub notes: Vec<String>,
}

/// Why a buffer cannot be opened. Its data is as it was.
#[derive(Debug)]
pub enum OpenError {
    /// Another process, or another value of this one, has it.
    Locked(PathBuf),
    /// A later version of this program wrote it.
    Version {
        /// The file that says so.
        path: PathBuf,
        /// Its major version.
        major: u16,
    },
    /// The sizes of the spec do not go together; which, in words.
    Spec(String),
    /// The directory or a file in it cannot be read.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked(dir) => write!(f, "buffer {}: it is in use by another ringmain", dir.display()),
            OpenError::Version { path, major } => write!(
                f,
                "{}: it has format version {major}, this program knows version {}; nothing was touched: start the \
                 version of ringmain that wrote it and let it drain, or move the directory away",
                path.display(),
                segment::MAJOR
            ),
            OpenError::Spec(why) => write!(f, "buffer: {why}"),
            OpenError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Its bytes, at most [`Writer::payload_max`].
    pub payload: &'a [u8],
    /// How many entries it holds, at least one.
    pub entries: u32,
    /// When they came in, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The number of its first entry: the name for [`Buffer::complete`].
    pub seq: Seq,
    /// How many entries it holds.
    pub entries: u32,
    /// When they came in, in milliseconds since 1970.
    pub time_ms: u64,
    /// Bytes of its payload.
    pub len: u32,
}

/// Why a record was not taken. Nothing of it was kept; the caller still has it.
#[derive(Debug)]
pub enum AppendError {
    /// `max_size` is reached, or the disk or the quota is full: room may come.
    Full(Full),
    /// It is larger than [`Writer::payload_max`], or has no entries: it will never be taken.
    Refused,
    /// The disk failed, in words; it may work again. Try about once a second.
    Io(io::Error),
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The buffer has as many segments as `max_size` allows.
    MaxSize,
    /// The file system or the quota has no room.
    Disk,
}

/// What [`Reader::skip_oldest`] passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Entries.
    pub entries: u64,
    /// Records.
    pub records: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// A buffer at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferView {
    /// Bytes of segments on disk, as `max_size` counts them.
    pub bytes: u64,
    /// Entries that are durable and not done: unread, or handed out.
    pub entries: u64,
    /// The oldest of these came in at this time or later, in milliseconds since 1970. None if there are none.
    pub oldest_ms: Option<u64>,
    /// Segments on disk.
    pub segments: usize,
    /// Entries that could not be read, since the start.
    pub lost_entries: u64,
    /// Damaged ranges that were met, since the start.
    pub damaged_ranges: u64,
    /// Bytes of damaged ranges in the quarantine.
    pub quarantined_bytes: u64,
    /// Why it cannot make records durable at present.
    pub degraded: Option<String>,
}

pub mod check;
pub mod config;
mod fast;
mod persist;
mod progress;
mod quarantine;
mod reader;
pub mod record;
mod recover;
pub mod repair;
pub mod scan;
pub mod segment;
mod shared;
pub mod state;
mod writer;

pub use quarantine::NAME as QUARANTINE;
pub use reader::Reader;
pub use shared::Buffer;
pub use writer::Writer;

/// Numbers beyond this are taken for damage: nobody counts so far, and sums of them cannot overflow.
const NUMBER_MAX: u64 = 1 << 62;

/// Whether an error says that the file system or the quota has no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
