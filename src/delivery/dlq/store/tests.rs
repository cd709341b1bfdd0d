use super::*;
use crate::block::Block;
use crate::delivery::dlq::read::{Pages, look};
use crate::delivery::letters::LetterReason;
use crate::entry::Entry;
use crate::labels::{Again, Labels, SourceId, Stream};
use crate::storage_io::Disk;
use tempfile::TempDir;

const HOUR_MS: u64 = 3_600_000;

/// Letters in a directory of their own, at a time that the test says.
struct Rig {
    dir: TempDir,
    config: DlqConfig,
    begun: Instant,
    store: Option<Store>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut DlqConfig)) -> Rig {
        let mut config = DlqConfig { max_bytes: DlqConfig::MAX_BYTES_MIN, ..DlqConfig::default() };
        change(&mut config);
        let mut rig = Rig { dir: tempfile::tempdir().unwrap(), config, begun: Instant::now(), store: None };
        rig.reopen(0);
        rig
    }

    fn reopen(&mut self, ms: u64) {
        self.store = None;
        let opened = Store::open(Arc::new(Disk), self.dir.path().into(), self.config, self.at(ms), ms);
        self.store = Some(opened.unwrap());
    }

    fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Keeps letters of these texts, refused by the sink `out`, at the time `ms`.
    fn keep(&self, texts: &[&str], reason: LetterReason, ms: u64) {
        let blocks: Vec<_> = texts.iter().map(|text| block(text, None)).collect();
        self.keep_blocks(&blocks, reason, ms);
    }

    fn keep_blocks(&self, blocks: &[Block], reason: LetterReason, ms: u64) {
        let letter = |block| letter(block, reason);
        let letters: Vec<_> = blocks.iter().map(letter).collect();
        self.store().keep_at(&letters, self.at(ms), ms).unwrap();
    }

    /// The texts of all letters, as the tools see them.
    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let filter = Filter::default();
        let seen = look(&Disk, self.dir.path(), &filter, &mut |_, letter| {
            texts.push(String::from_utf8(letter.entry.received).unwrap());
            Ok(true)
        });
        let seen = seen.unwrap();
        assert_eq!((seen.shown, seen.damaged), (texts.len(), 0));
        texts
    }

    /// The numbers of one sink and reason: those now, those kept, dropped at each limit, settled.
    fn tally(&self, reason: LetterReason) -> (u64, u64, [u64; 3], u64) {
        let numbers = self.store().numbers.lock();
        let found = numbers.tallies().find(|(_, other, _)| *other == reason);
        found.map_or_else(Default::default, |(_, _, row)| (row.letters, row.kept, row.dropped, row.settled))
    }
}

pub(super) fn block(text: &str, again: Option<Again>) -> Block {
    let stream = Stream::new(SourceId(0), "app".into(), "file", "a.log", Labels::new([("host", "h")]));
    let stream = match again {
        Some(again) => stream.given_again(again),
        None => stream,
    };
    let mut block = Block::new(text.len() + 1);
    block.begin_run(&Arc::new(stream));
    let offset = block.append(text.as_bytes()).unwrap();
    block.push(Entry::at(offset, text.len() as u32));
    block.stamp(7);
    block.reset_side();
    block
}

pub(super) fn letter(block: &Block, reason: LetterReason) -> Letter<'_> {
    let entry = block.view(0);
    Letter { entry, reason, status: Some(400), why: "no", attempts: 1, sink: "out", first_failed_ms: 5 }
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_can_be_read_by_number() {
    let mut rig = Rig::new(|_| ());
    rig.keep(&["a", "b"], LetterReason::Rejected, 10);
    rig.keep(&["c"], LetterReason::Panic, 20);
    for _ in 0..2 {
        assert_eq!(rig.texts(), ["a", "b", "c"]);
        let numbers = rig.store().select(&Filter::default());
        let mut pages = Pages::new(Arc::new(Disk), rig.dir.path().into());
        let last = pages.letter(numbers[2], 1).unwrap().unwrap();
        assert_eq!((last.reason, last.dead_ms, &last.sink[..]), (LetterReason::Panic, 20, "out"));
        let first = pages.letter(numbers[0], 1).unwrap().unwrap();
        assert_eq!(
            (&first.entry.received[..], first.status, first.first_failed_ms),
            (&b"a"[..], Some(400), 5)
        );
        let filter = Filter { reason: Some(LetterReason::Rejected), limit: Some(1), ..Filter::default() };
        assert_eq!(rig.store().select(&filter), numbers[..1]);
        let stats = rig.store().stats(rig.at(30), 30);
        assert_eq!((stats.letters, stats.oldest_ms), (3, 20));
        rig.reopen(30);
    }
}

#[test]
fn what_was_removed_stays_gone_though_older_ones_are_there() {
    let mut rig = Rig::new(|_| ());
    rig.keep(&["a", "b", "c", "d"], LetterReason::Rejected, 10);
    let numbers = rig.store().select(&Filter::default());
    assert_eq!(rig.store().remove(&[numbers[1], numbers[3]], End::Settled, rig.at(20), 20).unwrap(), 2);
    assert_eq!(rig.store().remove(&numbers[3..], End::Settled, rig.at(20), 20).unwrap(), 0);
    assert_eq!(rig.tally(LetterReason::Rejected), (2, 4, [0; 3], 2));
    assert_eq!(rig.texts(), ["a", "c"]);
    rig.reopen(30);
    assert_eq!(rig.texts(), ["a", "c"]);
    let purged = rig.store().purge(&Filter::default(), rig.at(40), 40).unwrap();
    assert_eq!((purged, rig.texts().len()), (2, 0));
    rig.store().maintain(rig.at(50), 50);
    rig.reopen(60);
    assert_eq!((rig.store().select(&Filter::default()).len(), rig.texts().len()), (0, 0));
}

#[test]
fn beyond_max_size_the_oldest_go_and_are_counted_and_told() {
    let mut rig = Rig::new(|config| config.max_size = 3);
    rig.keep(&["a", "b"], LetterReason::Rejected, 10);
    assert_eq!(rig.store().stats(rig.at(10), 10).alarm, None);
    rig.keep(&["c", "d", "e"], LetterReason::Rejected, 20);
    assert_eq!(rig.tally(LetterReason::Rejected), (3, 5, [2, 0, 0], 0));
    let alarm = rig.store().stats(rig.at(20), 20).alarm.unwrap();
    assert!(alarm.starts_with("2 dead letters were dropped") && alarm.ends_with("`dlq.max_size`"), "{alarm}");
    assert_eq!(rig.store().stats(rig.at(2 * HOUR_MS), 20).alarm, None);
    rig.store().maintain(rig.at(30), 30);
    assert_eq!(rig.texts(), ["c", "d", "e"]);
    rig.reopen(40);
    assert_eq!(rig.texts(), ["c", "d", "e"]);
    rig.config.max_size = 1;
    rig.reopen(50);
    assert_eq!(rig.store().stats(rig.at(50), 50).letters, 1);
}

#[test]
fn beyond_max_bytes_the_oldest_go_and_every_one_is_accounted_for() {
    let mut rig = Rig::new(|_| ());
    let text = "x".repeat(700_000);
    for number in 0..30 {
        rig.keep(&[&format!("{number:02}{text}")], LetterReason::Rejected, number);
        assert!(rig.store().stats(rig.at(number), number).disk_bytes <= rig.config.max_bytes as u64);
    }
    let (letters, kept, dropped, _) = rig.tally(LetterReason::Rejected);
    assert_eq!((kept, letters + dropped[1], dropped[0]), (30, 30, 0));
    assert!((4..20).contains(&letters), "{letters}");
    let left = rig.texts();
    assert_eq!(left.len() as u64, letters);
    assert!(left.last().unwrap().starts_with("29") && left[0].starts_with(&format!("{:02}", 30 - letters)));
    rig.reopen(40);
    assert_eq!(rig.texts(), left);
}

#[test]
fn a_letter_larger_than_a_record_is_kept_in_pieces_and_one_that_is_too_large_is_dropped() {
    let mut rig = Rig::new(|config| config.max_bytes = 64 << 20);
    let text = "y".repeat(5 << 20);
    rig.keep(&["a", &text, "z"], LetterReason::Rejected, 10);
    rig.reopen(20);
    assert_eq!(rig.texts().iter().map(String::len).collect::<Vec<_>>(), [1, 5 << 20, 1]);
    let numbers = rig.store().select(&Filter::default());
    let row = rig.store().take(numbers[1], false).unwrap();
    let mut pages = Pages::new(Arc::new(Disk), rig.dir.path().into());
    assert_eq!(pages.letter(numbers[1], row.records).unwrap().unwrap().entry.received.len(), 5 << 20);
    rig.store().remove(&numbers[1..2], End::Settled, rig.at(30), 30).unwrap();
    rig.reopen(40);
    assert_eq!(rig.texts(), ["a", "z"]);
    // More than a quarter of the least there may be.
    let rig = Rig::new(|_| ());
    rig.keep(&[&text], LetterReason::TooLarge, 10);
    assert_eq!(rig.tally(LetterReason::TooLarge), (0, 1, [0, 1, 0], 0));
}

#[test]
fn letters_whose_time_is_over_go_on_a_write_and_by_the_timer() {
    let rig = Rig::new(|config| config.retention_period = Duration::from_secs(100));
    rig.keep(&["a"], LetterReason::Rejected, 0);
    rig.keep(&["b"], LetterReason::Rejected, 50_000);
    rig.store().maintain(rig.at(99_999), 99_999);
    assert_eq!(rig.tally(LetterReason::Rejected).0, 2);
    rig.keep(&["c"], LetterReason::Rejected, 100_000);
    assert_eq!(rig.tally(LetterReason::Rejected), (2, 3, [0, 0, 1], 0));
    rig.store().maintain(rig.at(220_000), 220_000);
    assert_eq!(rig.tally(LetterReason::Rejected), (0, 3, [0, 0, 3], 0));
    assert_eq!(rig.store().stats(rig.at(220_000), 220_000).alarm, None, "they went as they were told to");
}

#[test]
fn after_a_jump_of_the_clock_no_more_than_a_segment_goes_in_each_pass() {
    let rig = Rig::new(|config| config.retention_period = Duration::from_secs(3600));
    let text = "x".repeat(400_000);
    for number in 0..10 {
        rig.keep(&[&text], LetterReason::Rejected, number);
    }
    let left = || rig.tally(LetterReason::Rejected).0;
    // A minute went by, and the clock says a year.
    let far = 365 * 24 * HOUR_MS;
    rig.store().maintain(rig.at(61_000), far);
    assert_eq!(left(), 7, "a segment of 1.1 MiB holds less than three of them");
    rig.store().maintain(rig.at(62_000), far + 1_000);
    assert_eq!(left(), 7);
    rig.store().maintain(rig.at(122_000), far + 61_000);
    assert_eq!(left(), 4);
    for pass in 3..6 {
        rig.store().maintain(rig.at(pass * 61_000), far + pass * 61_000);
    }
    assert_eq!(left(), 0);
}

#[test]
fn only_what_may_pass_is_due_again_and_only_so_often() {
    let rig = Rig::new(|config| {
        config.retry_interval = Duration::from_secs(10);
        config.max_auto_retries = 2;
    });
    let again = |retries| Some(Again { retries, first_failed_ms: 3 });
    rig.keep(&["rejected"], LetterReason::Rejected, 0);
    rig.keep(&["denied"], LetterReason::Denied, 0);
    let spent = [block("first", None), block("last", again(1)), block("over", again(2))];
    rig.keep_blocks(&spent, LetterReason::RetriesSpent, 0);
    let due = |ms| rig.store().due(ms, 10).remove("out").unwrap_or_default().len();
    assert_eq!((due(9_999), due(10_000)), (0, 3));
    assert_eq!(rig.store().due(10_000, 2)["out"].len(), 2, "a bounded number at a time");
    let number = rig.store().due(10_000, 1)["out"][0];
    assert!(rig.store().take(number, true).is_some() && rig.store().take(number, true).is_none());
    assert_eq!(due(10_000), 2);
    rig.store().put_back(number, 15_000);
    assert_eq!((due(20_000), due(25_000)), (2, 3));
    let mut pages = Pages::new(Arc::new(Disk), rig.dir.path().into());
    let over = pages.letter(*rig.store().select(&Filter::default()).last().unwrap(), 1).unwrap().unwrap();
    assert_eq!((over.retries, over.first_failed_ms, over.next_try_ms), (2, 3, 0));
    let off = Rig::new(|config| config.auto_retry = false);
    off.keep(&["denied"], LetterReason::Denied, 0);
    assert!(off.store().due(u64::MAX, 10).is_empty());
}

#[test]
fn what_is_given_again_now_is_not_dropped_for_newer_ones() {
    let rig = Rig::new(|config| config.max_size = 2);
    rig.keep(&["a", "b"], LetterReason::Rejected, 0);
    let oldest = rig.store().select(&Filter::default())[0];
    rig.store().take(oldest, false).unwrap();
    rig.keep(&["c"], LetterReason::Rejected, 1);
    rig.store().maintain(rig.at(2), 2);
    assert_eq!(rig.texts(), ["a", "c"]);
}
