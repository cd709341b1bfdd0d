//! A position put elsewhere in its file, for those who want lines again or not at all.

use super::cursor::Cursor;
use super::discover::{self, Listing};
use super::identity::{FileId, Head};
use crate::checkpoint::{Edge, Position};
use std::fs::Metadata;
use std::path::PathBuf;

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its first byte.
    Beginning,
    /// Behind its last byte; if it ends within a line, that line is skipped.
    End,
    /// At this byte; from within a line, its rest is skipped.
    Offset(u64),
}

/// Where the file of a position is now, by its number: at its path, or under a rotated name beside that.
pub fn find(position: &Position) -> Option<(PathBuf, Metadata)> {
    let own = FileId { dev: position.dev, inode: position.inode };
    let there = position.path.metadata().ok().map(|meta| (position.path.to_path_buf(), meta));
    let rotated = || Listing::default().rotations(&position.path);
    there.into_iter().chain(rotated()).find(|(_, meta)| FileId::of(meta) == own)
}

/// The position at another place of its file. Errors say why that cannot be.
pub fn moved(position: &Position, to: Place) -> Result<Position, String> {
    if to == Place::Beginning {
        // Known by how it begins; nothing stands before the place.
        return Ok(Position { offset: 0, edge: Edge::Line, tail_crc: 0, ..position.clone() });
    }
    let Some((path, _)) = find(position) else {
        return Err("its file is not there: only `beginning` can be set, for when it comes back".into());
    };
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let opened = discover::open(&path).map_err(io)?;
    let head = Head::read(&opened.file, position.head_len.into()).map_err(io)?;
    if (head.crc, head.len) != (position.head_crc, position.head_len) {
        return Err("its file was written anew and is read from its beginning".into());
    }
    let size = opened.meta.len();
    let offset = match to {
        Place::Offset(offset) if offset > size => {
            return Err(format!("it has only {size} bytes"));
        }
        Place::Offset(offset) => offset,
        Place::Beginning | Place::End => size,
    };
    let cursor = Cursor::at_end(&opened.file, offset).map_err(io)?;
    let head = if cursor.head.len >= position.head_len { cursor.head } else { head };
    Ok(Position {
        offset,
        edge: cursor.edge,
        tail_crc: cursor.before.crc(),
        head_crc: head.crc,
        head_len: head.len,
        ..position.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::file::identity::agrees;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_position_goes_anywhere_its_file_reaches_and_the_file_is_known_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "one line\n".repeat(500)).unwrap();
        let meta = path.metadata().unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let head = Head::read(&file, 900).unwrap();
        let at = Position {
            path: path.as_path().into(),
            dev: meta.dev(),
            inode: meta.ino(),
            head_crc: head.crc,
            head_len: head.len,
            offset: 900,
            edge: Edge::Line,
            tail_crc: 1,
            last_seen: 0,
        };
        for (to, offset, edge) in [
            (Place::Beginning, 0, Edge::Line),
            (Place::End, 4500, Edge::Line),
            (Place::Offset(9), 9, Edge::Line),
            (Place::Offset(2000), 2000, Edge::Skipping),
        ] {
            let new = moved(&at, to).unwrap();
            assert_eq!((new.offset, new.edge), (offset, edge), "{to:?}");
            assert!(agrees(&file, &new).unwrap(), "{to:?}");
        }
        assert!(moved(&at, Place::Offset(4501)).unwrap_err().contains("4500"));
        std::fs::rename(&path, dir.path().join("a.log.1")).unwrap();
        assert_eq!(find(&at).unwrap().0, dir.path().join("a.log.1"));
        assert_eq!(moved(&at, Place::End).unwrap().offset, 4500);
        std::fs::write(dir.path().join("a.log.1"), "another line\n".repeat(500)).unwrap();
        assert!(moved(&at, Place::End).unwrap_err().contains("anew"));
        std::fs::remove_file(dir.path().join("a.log.1")).unwrap();
        assert!(moved(&at, Place::End).is_err() && moved(&at, Place::Beginning).is_ok());
    }
}
