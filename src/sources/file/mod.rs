//! Files found by globs, followed as they grow, rotate and vanish.

pub mod config;
pub mod cursor;
pub mod identity;
pub mod progress;

/// P
pub struct FileReader;
/// P
pub struct FileSettings;
impl FileSettings {
    /// n
    pub fn new(_c: &config::FileSourceConfig, _l: crate::labels::Labels, _n: Vec<String>) -> Self {
        FileSettings
    }
}
/// P
pub struct FileRow {
    /// p
    pub path: String,
    /// r
    pub read_to: u64,
    /// s
    pub safe_to: u64,
    /// l
    pub len: u64,
}
/// P
pub type FileList = std::sync::Arc<parking_lot::Mutex<Vec<FileRow>>>;
impl FileReader {
    /// n
    pub fn new(
        _s: FileSettings,
        _sp: super::inlet::InletSpec,
        _e: std::sync::Arc<super::ending::Ending>,
        _c: std::sync::Arc<crate::checkpoint::Checkpoint>,
    ) -> std::io::Result<Self> {
        Ok(FileReader)
    }
    /// f
    pub fn files(&self) -> FileList {
        Default::default()
    }
    /// r
    pub fn run(self, _r: &crate::thread::Row) {}
}
