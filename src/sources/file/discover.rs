//! Which files there are: globs walked from their literal beginnings, rotated names, and opening without surprises.

use super::identity::Age;
use super::unpack::Unpacking;
use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Deepest nesting of directories that is followed.
const DEPTH_MAX: usize = 64;
/// Most directories looked through for one glob.
const DIRS_MAX: usize = 100_000;

/// What to read and what not.
pub struct Globs {
    patterns: Vec<Pattern>,
    include: GlobSet,
    exclude: GlobSet,
    /// Patterns without a slash: of file names, wherever they are.
    exclude_names: GlobSet,
}

/// One include pattern, taken apart so that only directories are listed that can lead to a match.
struct Pattern {
    base: PathBuf,
    parts: Vec<Part>,
}

enum Part {
    /// One name.
    Name(GlobMatcher),
    /// Any number of directories.
    Any,
}

/// What a walk comes by.
pub enum Found<'a> {
    /// A directory that a match could appear in.
    Dir(&'a Path),
    /// A match.
    File(&'a Path),
}

impl Globs {
    /// Relative patterns count from the current directory. Errors: a pattern cannot be understood.
    pub fn new(include: &[String], exclude: &[String]) -> io::Result<Globs> {
        let include: Vec<String> = include.iter().map(|glob| absolute(glob)).collect::<io::Result<_>>()?;
        let (paths, names): (Vec<_>, Vec<_>) = exclude.iter().cloned().partition(|glob| glob.contains('/'));
        let paths: Vec<String> = paths.iter().map(|glob| absolute(glob)).collect::<io::Result<_>>()?;
        Ok(Globs {
            patterns: include.iter().map(|glob| Pattern::new(glob)).collect::<io::Result<_>>()?,
            include: set(&include)?,
            exclude: set(&paths)?,
            exclude_names: set(&names)?,
        })
    }

    /// Whether the path is to be read, if it is a file.
    pub fn wants(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.include.is_match(path) && !self.exclude.is_match(path) && !self.exclude_names.is_match(name)
    }

    /// Lists everything there is. What cannot be listed is passed over; the next walk tries again.
    pub fn walk(&self, visit: &mut dyn FnMut(Found<'_>)) {
        for pattern in &self.patterns {
            let (above, seen) = (Vec::new(), HashSet::new());
            let mut walk = Walk { globs: self, visit, above, seen, left: DIRS_MAX };
            walk.dir(&pattern.base, &pattern.parts, false);
        }
    }
}

impl Pattern {
    fn new(glob: &str) -> io::Result<Pattern> {
        let mut base = PathBuf::from("/");
        let mut names = glob.split('/').filter(|name| !name.is_empty()).peekable();
        let special = |name: &str| name.contains(['*', '?', '[', '{', '\\']);
        // The last name is always matched, never part of the base: the base is a directory.
        while let Some(name) = names.next_if(|name| !special(name)) {
            if names.peek().is_none() {
                return Ok(Pattern { base, parts: vec![Part::Name(matcher(&globset::escape(name))?)] });
            }
            base.push(name);
        }
        let mut parts = Vec::new();
        for name in names {
            // Braces may hold slashes: then the whole pattern decides, over everything below.
            if name.matches('{').count() != name.matches('}').count() {
                parts.push(Part::Any);
                break;
            }
            parts.push(if name == "**" { Part::Any } else { Part::Name(matcher(name)?) });
        }
        Ok(Pattern { base, parts })
    }
}

struct Walk<'a> {
    globs: &'a Globs,
    visit: &'a mut dyn FnMut(Found<'_>),
    /// The directories we are in, so that a link back to one of them is not followed round and round.
    above: Vec<(u64, u64)>,
    /// Those seen, each with how much of the pattern was left then: a link leads to none of them again. Links between
    /// directories make more paths than anyone can walk.
    seen: HashSet<(u64, u64, usize)>,
    /// How many more there may be.
    left: usize,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &Path, parts: &[Part], by_link: bool) {
        let Some((part, rest)) = parts.split_first() else { return };
        let Ok(meta) = dir.metadata() else { return };
        let id = (meta.dev(), meta.ino());
        if !meta.is_dir() || self.above.contains(&id) || self.above.len() >= DEPTH_MAX || self.left == 0 {
            return;
        }
        if !self.seen.insert((id.0, id.1, parts.len())) && by_link {
            return;
        }
        self.left -= 1;
        (self.visit)(Found::Dir(dir));
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        self.above.push(id);
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            self.entry(&entry.path(), kind, part, parts, rest);
        }
        self.above.pop();
    }

    fn entry(&mut self, path: &Path, kind: FileType, part: &Part, parts: &[Part], rest: &[Part]) {
        let dir = kind.is_dir() || (kind.is_symlink() && path.is_dir());
        let odd = kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device();
        match (part, dir) {
            _ if odd => {}
            (Part::Any, true) => self.dir(path, parts, kind.is_symlink()),
            // `**` may stand for no directory at all: what follows it is tried here too, by the whole pattern.
            (Part::Any, false) => self.file(path),
            (Part::Name(name), true) if !rest.is_empty() && is_named(name, path) => {
                self.dir(path, rest, kind.is_symlink());
            }
            (Part::Name(name), false) if rest.is_empty() && is_named(name, path) => self.file(path),
            _ => {}
        }
    }

    fn file(&mut self, path: &Path) {
        if self.globs.wants(path) {
            (self.visit)(Found::File(path));
        }
    }
}

fn is_named(name: &GlobMatcher, path: &Path) -> bool {
    path.file_name().is_some_and(|file| name.is_match(file))
}

fn absolute(glob: &str) -> io::Result<String> {
    if glob.starts_with('/') {
        return Ok(glob.to_string());
    }
    let here = std::env::current_dir()?;
    let glob = glob.strip_prefix("./").unwrap_or(glob);
    // The directory's own name is no pattern.
    Ok(format!("{}/{glob}", globset::escape(&here.to_string_lossy())))
}

fn builder(glob: &str) -> io::Result<globset::Glob> {
    GlobBuilder::new(glob).literal_separator(true).build().map_err(io::Error::other)
}

fn matcher(glob: &str) -> io::Result<GlobMatcher> {
    Ok(builder(glob)?.compile_matcher())
}

fn set(globs: &[String]) -> io::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(builder(glob)?);
    }
    set.build().map_err(io::Error::other)
}

/// A log, open.
pub struct Opened {
    /// The file.
    pub file: File,
    /// What it was when it was opened.
    pub meta: Metadata,
    /// The path is a symbolic link.
    pub link: bool,
    /// It is compressed, `meta` speaks of that, and what is in it is unpacked into `file` as it is read.
    pub packed: Option<Box<Unpacking>>,
}

/// Opens a regular file to be read. Never waits for a FIFO, never takes a terminal.
///
/// A symbolic link is followed only if it belongs to root, to us, or to the owner of what it points to: with more
/// rights than the link's maker we could otherwise be led to a file they may not read.
pub fn open(path: &Path) -> io::Result<Opened> {
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let with = |flags| rustix::fs::open(path, how | flags, Mode::empty()).map(File::from);
    let (file, link) = match with(OFlags::NOFOLLOW) {
        Err(rustix::io::Errno::LOOP) => (with(OFlags::empty())?, Some(path.symlink_metadata()?.uid())),
        other => (other?, None),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    match link {
        Some(maker) if maker != 0 && maker != own && maker != meta.uid() => {
            Err(io::Error::other("it is a link made by a user who does not own what it points to"))
        }
        _ => Ok(Opened { file, meta, link: link.is_some(), packed: None }),
    }
}

/// Whether `name` is what a rotation makes of `of`: `of.1`, `of-20260801`, `of.old`, `of.1.gz`.
pub fn is_rotation(name: &OsStr, of: &OsStr) -> bool {
    suffix(name, of).is_some()
}

/// Whether its suffix is a number or a date, as every rotation's but hardly any other file's is.
pub fn is_numbered(name: &OsStr, of: &OsStr) -> bool {
    suffix(name, of).is_some_and(|suffix| suffix[0].is_ascii_digit() || suffix == b"old")
}

fn suffix<'a>(name: &'a OsStr, of: &OsStr) -> Option<&'a [u8]> {
    match name.as_bytes().strip_prefix(of.as_bytes())? {
        [b'.' | b'-', suffix @ ..] if !suffix.is_empty() => Some(suffix),
        _ => None,
    }
}

/// What orders the rotated names of one file, oldest first: numbers count down, dates and the like sort as they are, and
/// the name itself is the newest.
pub fn rotation_rank(path: &Path, of: &Path) -> (i64, Vec<u8>) {
    let (name, of) = (path.file_name().unwrap_or_default(), of.file_name().unwrap_or_default());
    let Some(suffix) = suffix(name, of) else { return (i64::MAX, Vec::new()) };
    // Compressed or not, it is as old.
    let packed = PACKED.iter().find_map(|end| suffix.strip_suffix(end.as_bytes()));
    let suffix = packed.filter(|plain| !plain.is_empty()).unwrap_or(suffix);
    let number = std::str::from_utf8(suffix).ok().filter(|suffix| suffix.len() < 6);
    match number.and_then(|number| number.parse::<i64>().ok()) {
        Some(number) => (-number, Vec::new()),
        None => (0, suffix.to_vec()),
    }
}

/// What the names of compressed files end in; those we can unpack first.
const PACKED: [&str; 7] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z", ".zip"];

/// Whether a file's name says that it was compressed.
pub fn is_compressed(path: &Path) -> bool {
    ends_in(path, &PACKED)
}

/// Whether a file's name says that it was compressed in a way we can undo.
pub fn is_unpackable(path: &Path) -> bool {
    ends_in(path, &PACKED[..2])
}

fn ends_in(path: &Path, ends: &[&str]) -> bool {
    let name = path.as_os_str().as_bytes();
    ends.iter().any(|end| name.ends_with(end.as_bytes()))
}

/// How old the file at `path` is. A compressed file was made when it was compressed: what counts is when it was written to,
/// which every such program takes over.
pub fn age(path: &Path, meta: &Metadata) -> Age {
    if is_compressed(path) { Age::written(meta) } else { Age::of(meta) }
}

/// The names in the directory that was asked for last: of thousands of files in one, each asks for the same.
#[derive(Default)]
pub struct Listing {
    dir: PathBuf,
    /// When the directory had changed, if the list is certainly younger.
    changed: Option<SystemTime>,
    /// Sorted.
    names: Vec<OsString>,
}

/// How often a directory is listed again that changes meanwhile.
const LOOKS_MAX: usize = 3;
/// The clock of file systems ticks in milliseconds: what changes within this time of the last change may not show.
const TICK: Duration = Duration::from_millis(100);

impl Listing {
    /// The rotated names of `path` that are there, with what they are.
    pub fn rotations(&mut self, path: &Path) -> Vec<(PathBuf, Metadata)> {
        let (Some(dir), Some(of)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let changed = || dir.metadata().and_then(|meta| meta.modified()).ok();
        let mut found = Vec::new();
        // Whoever rotates gives one name after the other to the next file: what is in between has none of them.
        for _ in 0..LOOKS_MAX {
            let Some(before) = changed() else { return Vec::new() };
            if self.changed != Some(before) || self.dir != dir {
                let now = SystemTime::now();
                let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
                self.names = entries.flatten().map(|entry| entry.file_name()).collect();
                self.names.sort_unstable();
                let settled = now.duration_since(before).is_ok_and(|age| age > TICK);
                (self.dir, self.changed) = (dir.to_path_buf(), settled.then_some(before));
            }
            let names = self.rotated(of).count();
            let seen = self.rotated(of).map(|name| dir.join(name));
            found = seen.filter_map(|path| Some((path.symlink_metadata().ok()?, path))).collect();
            if found.len() == names && changed() == Some(before) {
                break;
            }
            self.changed = None;
        }
        found.into_iter().filter(|(meta, _)| meta.is_file()).map(|(meta, path)| (path, meta)).collect()
    }

    fn rotated(&self, of: &OsStr) -> impl Iterator<Item = &OsString> {
        let first = self.names.partition_point(|name| &**name < of);
        let with_prefix =
            self.names[first..].iter().take_while(|name| name.as_bytes().starts_with(of.as_bytes()));
        with_prefix.filter(|name| is_rotation(name, of))
    }
}

/// The paths that `path` could be a rotation of, the longest first.
pub fn rotated_from(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let cuts = (1..name.len()).rev().filter(|at| matches!(name[*at], b'.' | b'-') && *at + 1 < name.len());
    cuts.map(|at| path.with_file_name(OsStr::from_bytes(&name[..at])))
}

/// What must never be read: what we write ourselves.
pub struct NeverRead {
    paths: Vec<PathBuf>,
    real: Vec<PathBuf>,
    matching: GlobSet,
}

impl NeverRead {
    /// These files, everything below these directories, and files whose real path matches one of these globs.
    pub fn new(paths: Vec<PathBuf>, matching: &[String]) -> io::Result<NeverRead> {
        let mut never = NeverRead { paths, real: Vec::new(), matching: set(matching)? };
        never.refresh();
        Ok(never)
    }

    /// Looks again where they really are: some may only just have been made.
    pub fn refresh(&mut self) {
        self.real = self.paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    }

    /// Whether the file at `path` is one of them, whatever links lead to it.
    pub fn covers(&self, path: &Path, meta: &Metadata) -> bool {
        let same = |own: &PathBuf| {
            own.metadata()
                .is_ok_and(|own| own.is_file() && (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.real.iter().any(|own| real.starts_with(own) || same(own)) || self.matching.is_match(&real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(globs: &Globs, root: &Path) -> (Vec<String>, Vec<String>) {
        let (mut files, mut dirs) = (vec![], vec![]);
        let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        globs.walk(&mut |found| match found {
            Found::File(path) => files.push(short(path)),
            Found::Dir(path) => dirs.push(short(path)),
        });
        for list in [&mut files, &mut dirs] {
            list.sort_unstable();
            list.dedup();
        }
        (files, dirs)
    }

    #[test]
    fn globs_find_what_they_name_and_list_no_directory_that_cannot_lead_there() -> io::Result<()> {
        let tree = tempfile::tempdir()?;
        let root = tree.path().canonicalize()?;
        for file in [
            "a.log",
            "b.gz",
            "one/a.log",
            "one/deep/a.log",
            "one/deep/x.txt",
            "two/logs/a.log",
            "two/z/a.log",
        ] {
            let path = root.join(file);
            path.parent().map(std::fs::create_dir_all).transpose()?;
            std::fs::write(path, "")?;
        }
        std::os::unix::fs::symlink(&root, root.join("one/loop"))?;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("fifo.log"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )?;
        let find = |include: &[&str], exclude: &[&str]| {
            let text = |globs: &[&str]| -> Vec<String> {
                globs.iter().map(|glob| glob.replace("~", &root.display().to_string())).collect()
            };
            Globs::new(&text(include), &text(exclude)).map(|globs| walk(&globs, &root))
        };
        assert_eq!(find(&["~/*.log"], &[])?, (vec!["a.log".into()], vec!["".into()]));
        assert_eq!(find(&["~/a.log"], &[])?.0, ["a.log"]);
        assert_eq!(find(&["~/*/logs/*.log"], &[])?.0, ["two/logs/a.log"]);
        let (files, dirs) = find(&["~/two/*/*.log"], &["~/two/z/*"])?;
        assert_eq!(
            (files, dirs),
            (vec!["two/logs/a.log".into()], ["two", "two/logs", "two/z"].map(String::from).into())
        );
        assert_eq!(find(&["~/**/*.log"], &["deep.log"])?.0.len(), 5);
        assert_eq!(find(&["~/*", "~/one/**"], &["*.gz", "*.log"])?.0, ["one/deep/x.txt"]);
        assert_eq!(find(&["~/{one/deep,two/z}/a.log"], &[])?.0, ["one/deep/a.log", "two/z/a.log"]);
        assert!(find(&["~/[.log"], &[]).is_err());
        Ok(())
    }

    #[test]
    fn rotated_names_are_known_and_chance_neighbours_are_not() {
        let name = OsStr::new;
        for rotated in ["app.log.1", "app.log-20260801", "app.log.old", "app.log.2.gz"] {
            assert!(
                is_rotation(name(rotated), name("app.log")) && is_numbered(name(rotated), name("app.log"))
            );
        }
        assert!(is_rotation(name("app.log.lock"), name("app.log")));
        for other in ["app.log", "app.log.", "app.logs", "app.log.lock", "xapp.log.1"] {
            assert!(!is_numbered(name(other), name("app.log")), "{other}");
        }
        let mut names = ["a-20260102", "a.1", "a", "a.10", "a.2", "a-20260101"].map(PathBuf::from);
        names.sort_by_key(|path| rotation_rank(path, Path::new("a")));
        assert_eq!(names, ["a.10", "a.2", "a.1", "a-20260101", "a-20260102", "a"].map(PathBuf::from));
        let from: Vec<_> = rotated_from(Path::new("/v/app.log-2.gz")).collect();
        assert_eq!(from, ["/v/app.log-2", "/v/app.log", "/v/app"].map(PathBuf::from));
    }

    #[test]
    fn only_regular_files_open_and_our_own_output_is_never_read() -> io::Result<()> {
        let tree = tempfile::tempdir()?;
        let (out, log) = (tree.path().join("out"), tree.path().join("log"));
        std::fs::create_dir(&out)?;
        std::fs::write(out.join("x"), "")?;
        std::fs::write(&log, "")?;
        assert!(open(&out).is_err() && open(Path::new("/dev/null")).is_err());
        let link = tree.path().join("link");
        std::os::unix::fs::symlink(out.join("x"), &link)?;
        let never = NeverRead::new(vec![out.clone(), tree.path().join("later")], &[])?;
        let opened = open(&link)?;
        assert!(opened.link && never.covers(&link, &opened.meta));
        assert!(!never.covers(&log, &open(&log)?.meta));
        Ok(())
    }
}
