//! The keys of the `docker` source.

use crate::sources::file::ReadFrom;
use crate::sources::file::config::globs;
use crate::sources::multiline::config::{MultilineConfig, multiline};
use crate::units;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What containers say, asked of their engine (Docker, podman) over its API socket.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSourceConfig {
    /// The engine's API socket: a path, or `unix://` and a path.
    #[serde(deserialize_with = "socket")]
    pub socket: PathBuf,
    /// Which containers to read: of each kind of globs that is given, one must match. Absent: all.
    pub include: Selection,
    /// Which containers not to read: those of which any glob matches.
    pub exclude: Selection,
    /// Globs of the container labels that become labels of its entries, under their names with `_` for what is no letter,
    /// digit or `_`.
    #[serde(deserialize_with = "globs")]
    pub container_labels: Vec<String>,
    /// Where reading starts in the logs of containers that are there at the very first start.
    pub read_from: ReadFrom,
    /// Longest line in bytes; a longer one is cut there and marked.
    #[serde(with = "units::line_size")]
    pub max_line: usize,
    /// Most bytes of lines and events of all containers that are not complete; a long line beyond it goes out cut.
    #[serde(with = "units::size")]
    pub partial_memory: usize,
    /// Which lines are one event; absent: each is one. Standard output and standard error are put together apart.
    #[serde(deserialize_with = "multiline", skip_serializing_if = "Option::is_none")]
    pub multiline: Option<MultilineConfig>,
    /// How often all containers are listed again, beside what the engine's events tell.
    #[serde(with = "units::positive_duration")]
    pub rescan: Duration,
    /// How long the engine may take to answer.
    #[serde(with = "units::positive_duration")]
    pub timeout: Duration,
    /// Most logs open at once, a connection each; further containers wait.
    #[serde(with = "units::count")]
    pub connections: usize,
}

impl Default for DockerSourceConfig {
    fn default() -> Self {
        DockerSourceConfig {
            socket: PathBuf::from("/var/run/docker.sock"),
            include: Selection::default(),
            exclude: Selection::default(),
            container_labels: Vec::new(),
            read_from: ReadFrom::default(),
            max_line: 256 << 10,
            partial_memory: 16 << 20,
            multiline: None,
            rescan: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            connections: 1000,
        }
    }
}

/// Globs that pick containers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Globs of names, without the `/` that engines put before them.
    #[serde(deserialize_with = "globs")]
    pub names: Vec<String>,
    /// Globs of images, as they were named when the container was made: `nginx:1.27*`.
    #[serde(deserialize_with = "globs")]
    pub images: Vec<String>,
    /// Globs of labels, as `name=value`, or as `name` alone for any value.
    #[serde(deserialize_with = "globs")]
    pub labels: Vec<String>,
}

fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let path = text.strip_prefix("unix://").unwrap_or(&text);
    if !path.starts_with('/') {
        return Err(D::Error::invalid_value(
            Unexpected::Str(&text),
            &"the path of a unix socket, such as `/var/run/docker.sock`",
        ));
    }
    Ok(path.into())
}
