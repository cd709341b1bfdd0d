//! Text that must not be shown: passwords and tokens.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::fs::File;
use std::io::Read;

/// Longest secret read from a file, in bytes.
const FILE_MAX: u64 = 64 << 10;
/// What is shown in its place.
const HIDDEN: &str = "(hidden)";

/// A secret of the config: written as it is, as `${VARIABLE}`, or as `file:PATH`, read when the config is. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is known already.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Reads a secret as it is written in a config.
    ///
    /// Errors: the file cannot be read, or there is nothing in it.
    pub fn read(written: &str) -> Result<Self, String> {
        let Some(path) = written.strip_prefix("file:") else {
            return match written {
                "" => Err("is empty".into()),
                _ => Ok(Secret(written.into())),
            };
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
        read.map_err(|error| format!("cannot be read from `{path}`: {error}"))?;
        // Editors and `echo` leave a newline behind.
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("cannot be read from `{path}`: the file is empty")),
            secret => Ok(Secret(secret.into())),
        }
    }

    /// The secret itself, for the one who has to send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret. How long it takes tells nothing but the length of `given`.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut differ = u8::from(own.len() != given.len());
        for (at, byte) in given.iter().enumerate() {
            // Wraps around, so that every byte that was given is looked at, whatever is kept.
            differ |= byte ^ own.get(at % own.len().max(1)).copied().unwrap_or(0);
        }
        std::hint::black_box(differ) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::read(&String::deserialize(deserializer)?)
            .map_err(|why| D::Error::custom(format_args!("the secret {why}")))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_whole_and_never_shown() {
        let secret = Secret::new("s3cret");
        assert!(secret.is(b"s3cret"));
        for wrong in ["", "s", "s3cre", "s3cres", "s3crets", "s3crets3cret", "S3cret"] {
            assert!(!secret.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{secret:?}"), HIDDEN);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("\"{HIDDEN}\""));
    }

    #[test]
    fn a_secret_in_a_file_is_read_without_its_newline_and_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let written = format!("file:{}", path.display());
        assert!(Secret::read(&written).unwrap_err().contains("cannot be read"));
        std::fs::write(&path, "\n").unwrap();
        assert!(Secret::read(&written).unwrap_err().contains("empty"));
        std::fs::write(&path, "abc\r\n").unwrap();
        assert!(Secret::read(&written).unwrap().is(b"abc"));
        assert!(Secret::read("").is_err());
    }
}
