//! Paths made of what is known of an entry: `./data/out/{source}/{date}.log`.
//!
//! What stands before the first placeholder, up to its last `/`, is the *base*: the operator's, taken as it is.
//! Everything behind it is made of names that cannot lead out of the base, whatever the entries say: of a value only
//! `A-Z a-z 0-9 . _ -` remain, without a dot at its start, and at most [`VALUE_MAX`] bytes. A value that had to be
//! changed carries a checksum of what it was, so that two values do not meet in one file unnoticed.

use crate::block::EntryView;
use crate::clock::UnixNanos;
use crate::expr::placeholders::Piece;
pub use crate::expr::placeholders::TemplateError;
use crate::labels::Stream;
use crate::sinks::format::civil;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most bytes of a value that appear in a path, without its checksum.
pub const VALUE_MAX: usize = 128;
/// Most bytes of one name in a path: the 255 that Linux allows, less what the sink itself may put behind it (a checksum,
/// and what rotation does).
const NAME_MAX: usize = 216;
/// Most names in a path beneath the base, so that no value can make a path longer than Linux allows.
const DEPTH_MAX: usize = 16;
/// Bytes that a checksum adds to a name.
const SUM_LEN: usize = 9;
const HOUR: i64 = 3_600_000_000_000;

/// A checked template.
#[derive(Clone, Debug)]
pub struct Template {
    base: PathBuf,
    /// The names beneath the base.
    names: Vec<Vec<Piece>>,
    /// How long a path stays the same, in nanoseconds; `None` if it does not depend on time.
    period: Option<i64>,
    per_entry: bool,
}

impl Template {
    /// Reads a template. `{host}` becomes the name of this host at once.
    pub fn compile(text: &str) -> Result<Self, TemplateError> {
        if let Some(at) = text.find('\0') {
            return Err(TemplateError::new("a path cannot hold a NUL", at..at + 1));
        }
        let first = text.find('{').unwrap_or(text.len());
        let cut = text[..first].rfind('/').map_or(0, |slash| slash + 1);
        let base = match &text[..cut] {
            "" => ".",
            "/" => "/",
            base => base.trim_end_matches('/'),
        };
        let mut names = Vec::new();
        let mut at = cut;
        for name in text[cut..].split('/') {
            names.extend(compile_name(name, at)?);
            at += name.len() + 1;
        }
        if names.is_empty() || text.ends_with('/') {
            return Err(TemplateError::new("the path names no file: it ends in a directory", 0..text.len()));
        }
        if names.len() > DEPTH_MAX {
            let message = format!("a path has at most {DEPTH_MAX} names behind its fixed part");
            return Err(TemplateError::new(message, cut..text.len()));
        }
        let has = |wanted: fn(&Piece) -> bool| names.iter().flatten().any(wanted);
        let period = match () {
            () if has(|piece| *piece == Piece::Hour) => Some(HOUR),
            () if has(|piece| *piece == Piece::Date) => Some(24 * HOUR),
            () => None,
        };
        let per_entry = has(|piece| matches!(piece, Piece::Field(_)));
        Ok(Template { base: base.into(), period, per_entry, names })
    }

    /// The directory that all its paths lie beneath.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether entries of one stream and time can have different paths.
    pub fn is_per_entry(&self) -> bool {
        self.per_entry
    }

    /// Its only path, relative to the base, if it has but one.
    pub fn fixed_path(&self) -> Option<String> {
        let text = |piece: &Piece| if let Piece::Literal(text) = piece { Some(text.clone()) } else { None };
        let names: Option<Vec<String>> =
            self.names.iter().map(|name| name.iter().map(text).collect()).collect();
        names.map(|names| names.join("/"))
    }

    /// The real paths it can name, as a glob; `None` if the base directory is not there.
    pub fn as_glob(&self) -> Option<String> {
        let base = self.base.canonicalize().ok()?;
        let mut glob = globset::escape(&base.display().to_string());
        for name in &self.names {
            glob.push('/');
            for piece in name {
                match piece {
                    Piece::Literal(text) => glob.push_str(&globset::escape(text)),
                    _ => glob.push('*'),
                }
            }
        }
        Some(glob)
    }

    /// For each of its names beneath the base, a regular expression that matches exactly what can stand there. What a
    /// date or hour says is in the groups `date` and `hour`.
    pub fn patterns(&self) -> Vec<String> {
        let mut known = Vec::new();
        let pattern = |name: &Vec<Piece>| {
            let pieces = name.iter().map(|piece| match piece {
                Piece::Literal(text) => regex::escape(text),
                Piece::Date if !known.contains(piece) => {
                    known.push(piece.clone());
                    "(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})".into()
                }
                Piece::Hour if !known.contains(piece) => {
                    known.push(piece.clone());
                    "(?<hour>[0-9]{2})".into()
                }
                Piece::Date => "[0-9]{4}-[0-9]{2}-[0-9]{2}".into(),
                Piece::Hour => "[0-9]{2}".into(),
                Piece::Source | Piece::Origin | Piece::Label(_) | Piece::Field(_) => {
                    "[A-Za-z0-9_-][A-Za-z0-9._-]*".into()
                }
            });
            format!("^{}$", pieces.collect::<String>())
        };
        self.names.iter().map(pattern).collect()
    }

    /// The times around `time` that share its path, all other things being equal.
    pub fn window(&self, time: UnixNanos) -> Range<UnixNanos> {
        match self.period {
            None => i64::MIN..i64::MAX,
            Some(period) => {
                let start = time.div_euclid(period).saturating_mul(period);
                start..time.div_euclid(period).saturating_add(1).saturating_mul(period)
            }
        }
    }

    /// Appends the path of `entry`, relative to the base. Without an entry, fields are written as if they were missing.
    pub fn render(&self, stream: &Stream, time: UnixNanos, entry: Option<EntryView<'_>>, out: &mut String) {
        for (at, name) in self.names.iter().enumerate() {
            if at > 0 {
                out.push('/');
            }
            let start = out.len();
            for piece in name {
                render_piece(piece, stream, time, entry, out);
            }
            fit_name(start, out);
        }
    }
}

/// The pieces of one name that begins at `at`, or `None` if it says nothing: `//` and `/./`.
fn compile_name(name: &str, at: usize) -> Result<Option<Vec<Piece>>, TemplateError> {
    match name {
        "" | "." => return Ok(None),
        ".." => return Err(TemplateError::new("`..` cannot follow a placeholder", at..at + 2)),
        _ => {}
    }
    let pieces = Piece::compile_all(name, at, &host_name())?;
    let fixed = |piece: &Piece| if let Piece::Literal(text) = piece { text.len() } else { 0 };
    if pieces.iter().map(fixed).sum::<usize>() > NAME_MAX - SUM_LEN {
        return Err(TemplateError::new("a file name is too long", at..at + name.len()));
    }
    Ok(Some(pieces))
}

/// What stands in a path for the name of this host.
fn host_name() -> String {
    let mut name = String::new();
    write_value(rustix::system::uname().nodename().to_bytes(), &mut name);
    name
}

/// Appends what stands in a path for `piece`.
fn render_piece(
    piece: &Piece,
    stream: &Stream,
    time: UnixNanos,
    entry: Option<EntryView<'_>>,
    out: &mut String,
) {
    match piece {
        Piece::Literal(text) => out.push_str(text),
        Piece::Source => write_value(stream.source_name.as_bytes(), out),
        Piece::Origin => write_value(stream.origin.as_bytes(), out),
        Piece::Date => {
            let (year, month, day) = civil(time.div_euclid(24 * HOUR));
            // Writing to a string cannot fail.
            let _ = write!(out, "{year:04}-{month:02}-{day:02}");
        }
        Piece::Hour => {
            let _ = write!(out, "{:02}", time.div_euclid(HOUR).rem_euclid(24));
        }
        Piece::Label(name) => write_value(stream.labels.get(name).unwrap_or("").as_bytes(), out),
        Piece::Field(name) => {
            let value = entry.and_then(|entry| entry.field(name.as_bytes()));
            write_value(value.map_or_else(Default::default, |value| value.text()).as_ref(), out);
        }
    }
}

fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Appends what remains of `value` in a path. A value that is not there is `_`.
///
/// Two values that differ look different: a checksum follows whatever was changed, and whatever looks as if it had been.
fn write_value(value: &[u8], out: &mut String) {
    if value.is_empty() {
        return out.push('_');
    }
    for (at, byte) in value.iter().take(VALUE_MAX).enumerate() {
        let keep = is_safe(*byte) && !(at == 0 && *byte == b'.');
        out.push(if keep { char::from(*byte) } else { '_' });
    }
    let changed = value.len() > VALUE_MAX || value[0] == b'.' || !value.iter().all(|byte| is_safe(*byte));
    if changed || value == b"_" || ends_in_sum(value) {
        write_sum(value, out);
    }
}

fn write_sum(value: &[u8], out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "-{:08x}", crc32c::crc32c(value));
}

fn ends_in_sum(value: &[u8]) -> bool {
    value
        .last_chunk::<SUM_LEN>()
        .is_some_and(|[dash, sum @ ..]| *dash == b'-' && sum.iter().all(u8::is_ascii_hexdigit))
}

/// Cuts the name that begins at `start` to what a file system takes. Only values that stand side by side can be longer.
fn fit_name(start: usize, out: &mut String) {
    if out.len() - start > NAME_MAX {
        let whole = out.split_off(start);
        // Literals need not be ASCII.
        let cut = whole.floor_char_boundary(NAME_MAX - SUM_LEN);
        out.push_str(&whole[..cut]);
        write_sum(whole.as_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;
    use crate::sinks::testing::{add_field, block_of, stream};
    use proptest::prelude::*;
    use std::path::Component;

    fn render(template: &str, stream: &Stream, time: UnixNanos) -> String {
        let mut out = String::new();
        Template::compile(template).unwrap().render(stream, time, None, &mut out);
        out
    }

    fn origin(value: &str) -> String {
        render("base/{origin}", &stream("s", value, &[]), 0)
    }

    #[test]
    fn the_base_is_what_stands_before_the_first_placeholder() {
        for (text, base, path) in [
            ("./data/out/{source}/{date}.log", "./data/out", "app/2026-01-02.log"),
            ("/var/log/x-{hour}.log", "/var/log", "x-03.log"),
            ("/{source}", "/", "app"),
            ("{source}.log", ".", "app.log"),
            ("out.log", ".", "out.log"),
            ("../a//b/{labels.job}//./{labels.none}.log", "../a//b", "web/_.log"),
        ] {
            let template = Template::compile(text).unwrap();
            let app = stream("app", "o", &[("job", "web")]);
            assert_eq!(template.base(), Path::new(base), "{text}");
            assert_eq!(render(text, &app, 1_767_323_045_000_000_000), path, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, start, len, word) in [
            ("out/{sorce}.log", 4, 7, "unknown placeholder `{sorce}`"),
            ("a/{source}/x{labels.}", 12, 9, "unknown placeholder"),
            ("a/{source", 2, 1, "brace"),
            ("a/source}", 8, 1, "brace"),
            ("a/{sou/rce}", 2, 1, "brace"),
            ("a/{source}/../b", 11, 2, "`..`"),
            ("a/{source}/", 0, 11, "ends in a directory"),
            ("", 0, 0, "names no file"),
            ("a/", 0, 2, "names no file"),
            ("a/..", 2, 2, "`..`"),
            ("a\0b", 1, 1, "NUL"),
        ] {
            let error = Template::compile(text).unwrap_err();
            assert_eq!((error.start, error.len), (start, len), "{text}: {error}");
            assert!(error.message.contains(word), "{text}: {error}");
        }
        assert!(Template::compile(&"{source}/".repeat(17)).is_err());
        assert!(Template::compile(&format!("{}{{source}}", "x".repeat(250))).is_err());
        assert!(Template::compile(&format!("{}x", "{source}/".repeat(16))).is_err());
        assert!(Template::compile(&format!("{}x", "{source}/".repeat(15))).is_ok());
    }

    #[test]
    fn a_hostile_value_stays_one_harmless_name() {
        for (value, path) in [
            ("plain-1.2_x", "plain-1.2_x"),
            ("../../x", "_._.._x-"),
            ("/etc/passwd", "_etc_passwd-"),
            ("..%2f", "_._2f-"),
            ("%252e", "_252e-"),
            ("a\0b", "a_b-"),
            ("a\\b", "a_b-"),
            ("a\nb", "a_b-"),
            (".", "_-"),
            ("..", "_.-"),
            (".hidden", "_hidden-"),
            ("\u{2025}\u{ff0e}", "______-"),
            ("x ", "x_-"),
            ("x.", "x."),
            ("_", "_-"),
            ("", "_"),
            ("a-0123abcd", "a-0123abcd-"),
            ("a-0123abcg", "a-0123abcg"),
        ] {
            let rendered = origin(value);
            assert!(rendered.starts_with(path), "{value:?} became {rendered}");
            let sum = if path.ends_with('-') { 8 } else { 0 };
            assert_eq!(rendered.len(), path.len() + sum, "{value:?} became {rendered}");
        }
        let (long, longer) = ("x".repeat(4096), "x".repeat(4097));
        assert_eq!(origin(&long).len(), VALUE_MAX + SUM_LEN);
        assert_ne!(origin(&long), origin(&longer));
        assert_ne!(origin("a/b"), origin("a_b"));
        assert_ne!(origin(&origin("a/b")), origin("a/b"), "what looks like a changed value is told from one");
    }

    #[test]
    fn values_side_by_side_still_fit_a_name() {
        let long = stream(&"s".repeat(128), &"o".repeat(128), &[]);
        let rendered = render("b/é{source}{origin}.log", &long, 0);
        assert!(rendered.len() <= NAME_MAX && rendered.starts_with("ésss"), "{rendered}");
    }

    #[test]
    fn fields_come_from_the_entry_with_their_escapes_resolved() {
        let one = stream("s", "o", &[]);
        let mut block = block_of(&one, &[b"x", b"y"]);
        add_field(&mut block, 0, b"user", br"a\u002fb", Kind::Escaped);
        let template = Template::compile("b/{fields.user}.log").unwrap();
        let rendered = |place| {
            let mut out = String::new();
            template.render(&one, 0, Some(block.view(place)), &mut out);
            out
        };
        assert!(template.is_per_entry());
        assert_eq!(rendered(0), format!("a_b-{:08x}.log", crc32c::crc32c(b"a/b")));
        assert_eq!(rendered(1), "_.log");
    }

    #[test]
    fn a_window_holds_exactly_the_times_of_one_path() {
        let any = stream("s", "o", &[]);
        for text in ["b/{date}", "b/{date}-{hour}", "b/{hour}"] {
            let template = Template::compile(text).unwrap();
            for time in [0, -1, 1, 1_767_323_045_000_000_000, -86_400_000_000_000, 86_399_999_999_999] {
                let window = template.window(time);
                assert!(window.contains(&time));
                let at = |time| render(text, &any, time);
                assert_eq!(at(window.start), at(time));
                assert_eq!(at(window.end - 1), at(time));
                assert_ne!(at(window.start - 1), at(time));
                assert_ne!(at(window.end), at(time));
            }
            assert!(template.window(i64::MIN).contains(&i64::MIN));
            template.window(i64::MAX);
        }
        assert_eq!(Template::compile("b/{source}").unwrap().window(5), i64::MIN..i64::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_rendered_path_leaves_the_base(
            origin in "(\\PC|[./\\\\%\\x00-\\x20]){0,200}",
            label in "(\\.|/|\\PC){0,300}",
            field: Vec<u8>,
            time: i64,
        ) {
            let template =
                Template::compile("base/{origin}/.{labels.l}/{fields.f}{origin}/{date}{hour}{fields.f}").unwrap();
            let one = stream("s", &origin, &[("l", &label)]);
            let mut block = block_of(&one, &[b"x"]);
            add_field(&mut block, 0, b"f", &field, Kind::Plain);
            let mut out = String::new();
            template.render(&one, time, Some(block.view(0)), &mut out);
            let names: Vec<_> = Path::new(&out).components().collect();
            prop_assert_eq!(names.len(), 4);
            for name in names {
                let Component::Normal(name) = name else { panic!("{out} leads away") };
                prop_assert!(name.len() <= NAME_MAX);
                prop_assert!(name.as_encoded_bytes().iter().all(|byte| is_safe(*byte)));
            }
        }

        #[test]
        fn values_that_differ_have_names_that_differ(one in "[ab./_-]{0,6}", other in "[ab./_-]{0,6}") {
            prop_assert_eq!(origin(&one) == origin(&other), one == other);
        }
    }

    #[test]
    fn as_a_glob_it_names_what_it_renders_and_leaves_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{}/own-{{source}}/{{date}}.log", dir.path().display());
        let glob = Template::compile(&text).unwrap().as_glob().unwrap();
        let glob =
            globset::GlobBuilder::new(&glob).literal_separator(true).build().unwrap().compile_matcher();
        let base = dir.path().canonicalize().unwrap();
        assert!(glob.is_match(base.join("own-app/2026-11-23.log")));
        assert!(!glob.is_match(base.join("app.log")) && !glob.is_match(base.join("own-app/x/2026.log")));
    }
}
