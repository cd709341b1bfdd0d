//! Reads a closed buffer without changing it: what is there, and whether all of it is sound.
//!
//! It follows the reader: a damaged range that took no entry with it, as the end of a segment that was given up, is no
//! damage.

use super::persist::Loaded;
use super::progress::Progress;
use super::record::{self, Totals};
use super::recover::{Survey, head, load_state};
use super::scan::{Scanner, Step};
use super::segment::HEADER;
use super::shared::Segment;
use super::{Found, OpenError, RecordHead, Seq, quarantine};
use crate::storage_io::{Access, PRIVATE, StorageIo};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is in a buffer.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What its payloads are, as its first segment says; 0 if none does.
    pub content: u8,
    /// There is a state, and both its slots are valid.
    pub state_is_sound: bool,
    /// Every entry below is done.
    pub committed: Seq,
    /// The number behind the last entry.
    pub next: Seq,
    /// Entries that are not done.
    pub entries: u64,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// Bytes of damaged ranges that were copied aside.
    pub quarantined_bytes: u64,
    /// What is unusual, one sentence each.
    pub notes: Vec<String>,
}

/// What is in a segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Its number.
    pub id: u64,
    /// How long it is.
    pub bytes: u64,
    /// How long it may grow.
    pub capacity: u64,
    /// When it was begun, in milliseconds since 1970; 0 if its header is damaged.
    pub created_ms: u64,
    /// Its header is valid.
    pub header_is_sound: bool,
    /// The number of its first entry.
    pub first_seq: Option<Seq>,
    /// Entries in it, done or not, as far as the numbers around it tell.
    pub entries: u64,
}

/// What is wrong with a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Valid records, those that are done counted.
    pub records: u64,
    /// Entries in them.
    pub entries: u64,
    /// Ranges of a segment's file where records should be and are none: file, first byte, end.
    pub damaged: Vec<(PathBuf, u64, u64)>,
    /// Entries that are not done and not there.
    pub gaps: Vec<Range<Seq>>,
    /// Anything else, one sentence each.
    pub wrong: Vec<String>,
    /// Bytes behind the last record, which nobody was promised: the next start cuts them off.
    pub torn: u64,
}

impl Verdict {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.gaps.is_empty() && self.wrong.is_empty()
    }

    /// Entries that are not done and not there.
    pub fn lost(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.end - gap.start).sum()
    }
}

/// A buffer, its heads read.
pub struct Closed<'a> {
    io: &'a dyn StorageIo,
    dir: PathBuf,
    pub(super) loaded: Loaded,
    pub(super) survey: Survey,
    committed: Seq,
    next: Seq,
    notes: Vec<String>,
}

impl<'a> Closed<'a> {
    /// Reads the state, the heads of the segments, and the last segment. The caller sees to it that nobody writes there.
    pub fn read(io: &'a dyn StorageIo, dir: &Path) -> Result<Closed<'a>, OpenError> {
        let mut found = Found::default();
        let loaded = load_state(io, dir, &mut found)?;
        let mut survey = Survey::of(io, dir, &loaded, &mut found)?;
        let state = loaded.slots.best.clone().unwrap_or_default();
        let committed = survey.committed(&loaded);
        let next = survey.end(io, &state)?.next.max(committed);
        Ok(Closed { io, dir: dir.to_owned(), loaded, survey, committed, next, notes: found.notes })
    }

    /// Every entry below is done.
    pub(super) fn committed(&self) -> Seq {
        self.committed
    }

    /// The number behind the last entry.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// What is there.
    pub fn report(&self) -> io::Result<Report> {
        let mut segments = Vec::new();
        let mut content = 0;
        for segment in &self.survey.table {
            let header = head(self.io, &segment.path)?.1.ok();
            if content == 0 {
                content = header.map_or(0, |header| header.content);
            }
            let first = segment.first_seq.unwrap_or(self.next);
            segments.push(SegmentReport {
                path: segment.path.clone(),
                id: segment.id,
                bytes: segment.len,
                capacity: segment.capacity,
                created_ms: segment.created_ms,
                header_is_sound: header.is_some(),
                first_seq: segment.first_seq,
                entries: self.bound(segment).saturating_sub(first),
            });
        }
        Ok(Report {
            content,
            state_is_sound: !self.loaded.missing && !self.loaded.slots.damaged,
            committed: self.committed,
            next: self.next,
            entries: self.progress().open(self.next).0,
            segments,
            quarantined_bytes: quarantine::bytes(self.io, &self.dir),
            notes: self.notes.clone(),
        })
    }

    /// Reads every record. `record` gets each valid one with its payload, and whether it is done; `bytes` hears how many
    /// were read.
    pub fn verify(
        &self,
        mut record: impl FnMut(&RecordHead, &[u8], bool) -> io::Result<()>,
        mut bytes: impl FnMut(u64),
    ) -> io::Result<Verdict> {
        let mut walk = Walk { progress: self.progress(), read: 0, verdict: Verdict::default() };
        if !self.loaded.missing && self.loaded.slots.damaged {
            walk.verdict.wrong.push(format!("{}: a slot of the state is damaged", self.dir.display()));
        }
        if self.loaded.missing && !self.survey.table.is_empty() {
            walk.verdict.wrong.push(format!("{}: the state is missing", self.dir.display()));
        }
        walk.read =
            self.survey.table.iter().find_map(|segment| segment.first_seq).unwrap_or(0).min(self.committed);
        for (at, segment) in self.survey.table.iter().enumerate() {
            let is_last = at + 1 == self.survey.table.len();
            walk.segment(self, segment, is_last, &mut record, &mut bytes)?;
        }
        walk.gap(self.next);
        Ok(walk.verdict)
    }

    fn progress(&self) -> Progress {
        let holes = self.loaded.slots.best.as_ref().map_or(Vec::new(), |state| state.holes.clone());
        Progress::new(self.committed, holes)
    }

    /// The number behind a segment's last entry.
    fn bound(&self, segment: &Segment) -> Seq {
        let later = self.survey.table.iter().filter(|other| other.place > segment.place);
        later.into_iter().find_map(|later| later.first_seq).unwrap_or(self.next)
    }
}

/// Goes through all records.
struct Walk {
    progress: Progress,
    /// Everything below was met or is a gap.
    read: Seq,
    verdict: Verdict,
}

impl Walk {
    fn segment(
        &mut self,
        closed: &Closed<'_>,
        segment: &Segment,
        is_last: bool,
        record: &mut impl FnMut(&RecordHead, &[u8], bool) -> io::Result<()>,
        bytes: &mut impl FnMut(u64),
    ) -> io::Result<()> {
        let (bound, mut totals, mut whole) = (closed.bound(segment), Totals::default(), true);
        if head(closed.io, &segment.path)?.1.is_err() {
            self.verdict.wrong.push(format!("{}: its header is damaged", segment.path.display()));
        }
        let mut scanner = Scanner::new(closed.io.open(&segment.path, Access::Read, PRIVATE)?, segment.salt);
        let (mut payload, mut bad) = (Vec::new(), Vec::new());
        loop {
            let before = scanner.at();
            let step = match scanner.step(segment.len, &mut payload) {
                Ok(step) => step,
                Err(error) => {
                    self.verdict.wrong.push(format!("{}: byte {before}: {error}", segment.path.display()));
                    scanner.pass_unreadable(segment.len, &mut payload)?
                }
            };
            bytes(scanner.at() - before);
            match step {
                Step::Record(head, crc) => {
                    totals.add(head.entries, crc);
                    let end = record::end(&head);
                    if head.seq < self.read || end > bound {
                        continue;
                    }
                    self.damage(segment, &mut bad, head.seq);
                    self.read = end;
                    self.verdict.records += 1;
                    self.verdict.entries += u64::from(head.entries);
                    let done = head.seq < self.progress.committed() || self.progress.in_hole(head.seq);
                    record(&head, &payload, done)?;
                }
                Step::Seal(_) => {
                    if whole && payload != totals.encode() {
                        self.verdict
                            .wrong
                            .push(format!("{}: its seal counts otherwise", segment.path.display()));
                    }
                    break;
                }
                Step::Bad(from, to) => {
                    bad.push((from, to));
                    whole = false;
                }
                Step::End => break,
            }
        }
        let torn = bad.last().filter(|(_, to)| is_last && *to >= segment.len && self.read >= bound);
        self.verdict.torn += torn.map_or(0, |(from, to)| to - from);
        self.damage(segment, &mut bad, bound);
        Ok(())
    }

    /// What is missing up to `seq`, and the ranges that stand in its place, if that costs anything.
    fn damage(&mut self, segment: &Segment, bad: &mut Vec<(u64, u64)>, seq: Seq) {
        let gap = self.gap(seq);
        let nameless = segment.first_seq.is_none() && segment.len > HEADER as u64;
        for (from, to) in bad.drain(..).filter(|_| gap || nameless) {
            self.verdict.damaged.push((segment.path.clone(), from, to));
        }
    }

    /// Everything up to `seq` that was not met is a gap; whether that costs entries that are not done.
    fn gap(&mut self, seq: Seq) -> bool {
        let from = self.read.max(self.progress.committed());
        self.read = self.read.max(seq);
        let mut lost = false;
        for range in self.progress.without_holes(from..seq.max(from)) {
            self.verdict.gaps.push(range);
            lost = true;
        }
        lost
    }
}
