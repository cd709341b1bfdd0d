//! The keys of the `file` source.

use std::time::Duration;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

pub use super::{Format, ReadFrom};
use crate::sources::multiline::config::{MultilineConfig, multiline};
use crate::units;

/// Files found by globs, followed as they grow, rotate and vanish.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSourceConfig {
    /// Globs of the files to read; at least one. `*` stays within a directory, `**` crosses them.
    #[serde(deserialize_with = "globs_some")]
    pub include: Vec<String>,
    /// Globs of files never to read, matched against the whole path or, without a `/`, against the file name.
    #[serde(default, deserialize_with = "globs")]
    pub exclude: Vec<String>,
    /// Where reading starts in files that are there at the very first start and have no checkpoint.
    #[serde(default)]
    pub read_from: ReadFrom,
    /// Longest line in bytes; a longer one is cut there and marked.
    #[serde(default = "max_line", with = "units::line_size")]
    pub max_line: usize,
    /// How long a last line without a newline is waited for before it is taken as it is.
    #[serde(default = "five_seconds", with = "units::positive_duration")]
    pub partial_timeout: Duration,
    /// How often the globs are looked through again, beside what inotify tells.
    #[serde(default = "five_seconds", with = "units::positive_duration")]
    pub rescan: Duration,
    /// How long a file that was renamed or removed is still followed for late lines.
    #[serde(default = "five_seconds", with = "units::duration")]
    pub rotate_wait: Duration,
    /// Files not changed for this long when first seen are read from their end, when they grow; `off` reads all whole.
    #[serde(default, with = "units::duration_or_off")]
    pub ignore_older: Option<Duration>,
    /// Most files open at once; those without news are closed and opened again when they grow.
    #[serde(default = "open_files", with = "units::count")]
    pub open_files: usize,
    /// What the lines are: entries, or what container engines write.
    #[serde(default)]
    pub format: Format,
    /// Which lines are one event; absent: each is one.
    #[serde(default, deserialize_with = "multiline", skip_serializing_if = "Option::is_none")]
    pub multiline: Option<MultilineConfig>,
}

fn max_line() -> usize {
    256 << 10
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn open_files() -> usize {
    1024
}

/// Reads a list of globs.
pub(crate) fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    /// Its own type, so that an error points at the one glob and not at the list.
    struct Glob(String);
    impl<'de> Deserialize<'de> for Glob {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            if text.is_empty() {
                return Err(D::Error::invalid_value(Unexpected::Str(""), &"a glob such as `/var/log/*.log`"));
            }
            match globset::Glob::new(&text) {
                Ok(_) => Ok(Glob(text)),
                Err(error) => Err(D::Error::custom(format_args!("not a glob: {}", error.kind()))),
            }
        }
    }
    Ok(Vec::<Glob>::deserialize(deserializer)?.into_iter().map(|glob| glob.0).collect())
}

fn globs_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = globs(deserializer)?;
    if globs.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one glob such as `/var/log/*.log`"));
    }
    Ok(globs)
}
