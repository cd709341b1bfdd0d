//! The end of a file that someone did not finish writing.
//!
//! After a kill or a power cut a file can end in the middle of a line. That entry was never acknowledged, so it comes
//! again: what there is of it is taken out, and kept in `PATH.torn`, should it have been somebody else's.

use super::beneath::Base;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Longest end that is taken out, and largest `.torn` file, in bytes. A longer end stays and gets its newline.
const TORN_MAX: u64 = 1 << 20;
const STEP: usize = 64 << 10;

/// Makes `file`, which is `path` beneath `base`, end in a whole line.
pub(super) fn repair(base: &Base, path: &str, file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    match whole_len(file, len)? {
        Some(whole) if whole == len => return Ok(()),
        Some(whole) => {
            keep(base, path, file, whole..len)?;
            file.set_len(whole)?;
            tracing::warn!("file {path} ended within a line: {} bytes moved to {path}.torn", len - whole);
        }
        None => {
            (&*file).write_all(b"\n")?;
            tracing::warn!("file {path} ended within a line longer than {TORN_MAX} bytes: left, and ended");
        }
    }
    Ok(())
}

/// How much of the file is whole lines, or `None` if its last line is longer than [`TORN_MAX`] and without an end.
fn whole_len(file: &File, len: u64) -> io::Result<Option<u64>> {
    // Nearly always the last byte answers.
    let mut step = 1;
    let mut end = len;
    let mut buffer = [0; STEP];
    while end > 0 && len - end <= TORN_MAX {
        let start = end.saturating_sub(step);
        let bytes = &mut buffer[..(end - start) as usize];
        file.read_exact_at(bytes, start)?;
        if let Some(at) = memchr::memrchr(b'\n', bytes) {
            let whole = start + at as u64 + 1;
            return Ok((len - whole <= TORN_MAX).then_some(whole));
        }
        end = start;
        step = STEP as u64;
    }
    Ok((len <= TORN_MAX).then_some(0))
}

/// Copies the bytes at `range` of `file` behind `PATH.torn`, or in its place where that grew too large.
fn keep(base: &Base, path: &str, file: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    bytes.push(b'\n');
    let torn = base.create(&format!("{path}.torn"), &mut |_| {})?;
    if torn.metadata()?.len() + bytes.len() as u64 > TORN_MAX {
        torn.set_len(0)?;
    }
    (&torn).write_all(&bytes)?;
    // Before the bytes leave the one file they are safe in the other.
    torn.sync_all()?;
    base.dir(super::beneath::parent(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What becomes of `content`: the file, and what was kept of it.
    fn repaired(content: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let temp = tempfile::tempdir().unwrap();
        let base = Base::open(temp.path()).unwrap();
        fs::write(temp.path().join("a.log"), content).unwrap();
        repair(&base, "a.log", &base.find("a.log").unwrap()).unwrap();
        let read = |name| fs::read(temp.path().join(name)).unwrap_or_default();
        (read("a.log"), read("a.log.torn"))
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_whole_lines_and_the_rest_is_kept_beside_it() {
        let sample = b"first\n\nsecond line\nthird\n";
        for cut in 0..=sample.len() {
            let whole = sample[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let (file, torn) = repaired(&sample[..cut]);
            assert_eq!(file, &sample[..whole], "cut at {cut}");
            let kept = if whole < cut { [&sample[whole..cut], b"\n"].concat() } else { Vec::new() };
            assert_eq!(torn, kept, "cut at {cut}");
        }
    }

    #[test]
    fn the_newline_is_found_however_far_back() {
        for tail in [1, 2, STEP - 1, STEP, STEP + 1, STEP + 2, 3 * STEP, TORN_MAX as usize - 1] {
            let content = [b"line\n", &*vec![b'x'; tail]].concat();
            let (file, torn) = repaired(&content);
            assert_eq!((file.as_slice(), torn.len()), (&b"line\n"[..], tail + 1), "{tail}");
        }
    }

    #[test]
    fn an_end_too_long_to_be_kept_is_left() {
        for head in [&b"line\n"[..], b""] {
            let content = [head, &vec![b'x'; TORN_MAX as usize + 1]].concat();
            let (file, torn) = repaired(&content);
            assert!(file.strip_suffix(b"\n") == Some(&content) && torn.is_empty());
        }
    }

    #[test]
    fn what_is_kept_stays_bounded() {
        let temp = tempfile::tempdir().unwrap();
        let base = Base::open(temp.path()).unwrap();
        for _ in 0..5 {
            fs::write(temp.path().join("a.log"), vec![b'x'; TORN_MAX as usize / 3]).unwrap();
            repair(&base, "a.log", &base.find("a.log").unwrap()).unwrap();
        }
        let kept = fs::metadata(temp.path().join("a.log.torn")).unwrap().len();
        assert!(kept <= TORN_MAX && kept > 0);
    }
}
