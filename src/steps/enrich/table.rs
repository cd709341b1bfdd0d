//! Tables in memory, and the files they come from.

use super::config::Match;
use super::read;
use crate::entry::Kind;
use crate::expr::{Net, address, masked};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// Most rows of a table.
pub const ROWS_MAX: usize = 1_000_000;
/// Largest file of a table, in bytes.
pub const FILE_MAX: u64 = 64 << 20;

/// Rows that are found by one of their columns.
#[derive(Debug)]
pub struct Table {
    keys: Keys,
    /// The cells that are asked for, row by row.
    cells: Vec<Cell>,
    /// How many there are in a row.
    columns: usize,
    bytes: Vec<u8>,
}

/// The kind of a value and where it ends; it begins where that before it does. No kind: there is none.
#[derive(Clone, Copy, Debug)]
struct Cell {
    kind: Option<Kind>,
    end: u32,
}

#[derive(Debug)]
enum Keys {
    Exact(HashMap<Box<[u8]>, u32>),
    /// By the first address, for each number of bits, the most first.
    Nets(Vec<(u8, HashMap<IpAddr, u32>)>),
}

impl Table {
    /// An empty table whose rows are found by `by` and have so many columns.
    pub fn new(by: Match, columns: usize) -> Self {
        let keys = match by {
            Match::Exact => Keys::Exact(HashMap::new()),
            Match::Cidr => Keys::Nets(Vec::new()),
        };
        Table { keys, cells: Vec::new(), columns, bytes: Vec::new() }
    }

    /// Adds a row.
    ///
    /// Errors: in words, what is wrong with its key.
    pub fn add<'c>(
        &mut self,
        key: &str,
        cells: impl Iterator<Item = Option<(Kind, &'c [u8])>>,
    ) -> Result<(), String> {
        let row = self.len();
        if row == ROWS_MAX {
            return Err(format!("more than {ROWS_MAX} rows"));
        }
        let before = match &mut self.keys {
            Keys::Exact(rows) => rows.insert(key.as_bytes().into(), row as u32),
            Keys::Nets(nets) => {
                let net = Net::parse(key)?;
                let at = match nets.binary_search_by(|(bits, _)| net.bits().cmp(bits)) {
                    Ok(at) => at,
                    Err(at) => {
                        nets.insert(at, (net.bits(), HashMap::new()));
                        at
                    }
                };
                nets[at].1.insert(net.first(), row as u32)
            }
        };
        if before.is_some() {
            return Err(format!("`{key}` is there twice"));
        }
        for cell in cells {
            let (kind, bytes) = cell.map_or((None, &b""[..]), |(kind, bytes)| (Some(kind), bytes));
            self.bytes.extend_from_slice(bytes);
            self.cells.push(Cell { kind, end: self.bytes.len() as u32 });
        }
        // A row without columns would not be counted.
        if self.columns == 0 {
            self.cells.push(Cell { kind: None, end: self.bytes.len() as u32 });
        }
        Ok(())
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.cells.len() / self.columns.max(1)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The row whose key is `key`, or the smallest network the address `key` lies in.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        match &self.keys {
            Keys::Exact(rows) => rows.get(key).copied(),
            Keys::Nets(nets) => {
                let address = address(key)?;
                let fits = |bits: u8| bits <= if address.is_ipv4() { 32 } else { 128 };
                let mut found = nets.iter().filter(|(bits, _)| fits(*bits));
                found.find_map(|(bits, rows)| rows.get(&masked(address, *bits)).copied())
            }
        }
    }

    /// The cells of a row, in the order of the columns.
    pub fn cells(&self, row: u32) -> impl Iterator<Item = (Option<Kind>, &[u8])> {
        let first = row as usize * self.columns;
        let mut start = first.checked_sub(1).map_or(0, |before| self.cells[before].end as usize);
        self.cells[first..first + self.columns].iter().map(move |cell| {
            let bytes = &self.bytes[start..cell.end as usize];
            start = cell.end as usize;
            (cell.kind, bytes)
        })
    }
}

/// A table with the file it comes from.
#[derive(Debug)]
pub struct TableFile {
    path: PathBuf,
    shape: Shape,
    /// Whose it is, for the log.
    owner: String,
    now: ArcSwap<Table>,
    /// Of the file looked at last, right or wrong: a wrong one is complained of once.
    seen: Mutex<Option<Seen>>,
}

/// What is taken from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How rows are found.
    pub by: Match,
    /// The column they are found by.
    pub key: String,
    /// The columns that are asked for.
    pub columns: Vec<String>,
}

/// What tells one state of a file from another: size, time of its last change, and which file it is.
type Seen = (u64, i64, i64, u64);

/// All there are, to be looked after by whoever has the time.
static ALL: Mutex<Vec<Weak<TableFile>>> = Mutex::new(Vec::new());

/// Looks whether the file of any table has changed, and takes it up. Reads files: not for a thread that must not wait.
pub fn refresh_tables() {
    let all = {
        let mut all = ALL.lock();
        all.retain(|table| table.strong_count() > 0);
        all.clone()
    };
    all.iter().filter_map(Weak::upgrade).for_each(|table| table.refresh());
}

impl TableFile {
    /// Reads the table at `path` for `owner`, such as ``step 2 of pipeline `app` ``.
    ///
    /// Errors: in words, the file cannot be read, is too large, or is no such table, with the line where it is known.
    pub fn load(path: PathBuf, shape: Shape, owner: String) -> Result<Arc<Self>, String> {
        let (table, seen) = take_up(&path, &shape)?;
        let now = ArcSwap::from_pointee(table);
        let table = Arc::new(TableFile { path, shape, owner, now, seen: Mutex::new(Some(seen)) });
        ALL.lock().push(Arc::downgrade(&table));
        Ok(table)
    }

    /// Its state now.
    pub fn now(&self) -> arc_swap::Guard<Arc<Table>> {
        self.now.load()
    }

    /// Takes the file up if it has changed. While it is wrong, what was read before stays.
    pub fn refresh(&self) {
        let mut last = self.seen.lock();
        let seen = fs::metadata(&self.path).ok().map(|meta| seen(&meta));
        if seen == *last {
            return;
        }
        *last = seen;
        let (path, owner) = (self.path.display(), &self.owner);
        match take_up(&self.path, &self.shape) {
            Ok((table, seen)) => {
                let rows = table.len();
                self.now.store(Arc::new(table));
                *last = Some(seen);
                tracing::info!("{owner}: table {path}: changed; it has {rows} rows now");
            }
            Err(error) => {
                let rows = self.now.load().len();
                tracing::warn!("{owner}: table {path}: {error}; the {rows} rows read before stay in use");
            }
        }
    }
}

fn seen(meta: &fs::Metadata) -> Seen {
    (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino())
}

fn take_up(path: &Path, shape: &Shape) -> Result<(Table, Seen), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("larger than {}", crate::units::format_size(FILE_MAX)));
    }
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let table = if is_json { read::json(&bytes, shape) } else { read::csv(&bytes, shape) };
    Ok((table?, seen(&meta)))
}
