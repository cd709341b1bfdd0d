//! Bytes broken on purpose: only what was touched is lost, and it is counted exactly.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

#[path = "../../../fuzz/src/oracle_segment.rs"]
mod oracle;

/// A buffer of a few small segments, all of it durable and the state written, and closed.
fn filled(count: u32) -> Sim {
    let sim = Sim::new(7);
    fastrand::seed(7);
    let mut opened = open(&sim, &spec());
    for id in 0..count {
        append(&mut opened, id).unwrap();
        opened.writer.sync().unwrap();
    }
    opened.shared.persist().unwrap();
    sim
}

/// A copy of the files of a disk.
fn copied(sim: &Sim) -> Sim {
    let copy = Sim::new(3);
    for path in sim.files(Path::new(DIR)) {
        copy.put(&path, &sim.bytes(&path).unwrap());
    }
    copy
}

/// The records of a segment: ids and where their bytes are, without the padding.
fn layout(bytes: &[u8]) -> Vec<(u32, Range<usize>)> {
    let (mut at, mut records) = (segment::HEADER, Vec::new());
    while let Some(rest) = bytes.get(at..at + record::HEAD) {
        let len = u32::from_le_bytes(*rest[4..].first_chunk().unwrap()) as usize;
        let end = at + record::HEAD + len;
        if rest[2] == record::Kind::Data as u8 {
            records.push((u32::from_le_bytes(*bytes[at + record::HEAD..].first_chunk().unwrap()), at..end));
        }
        at = end.next_multiple_of(8);
    }
    records
}

/// Opens, reads everything, and compares: `touched` may be lost, everything else must come, and what is missing is counted.
/// Gives what is missing.
fn survives(sim: &Sim, count: u32, touched: &BTreeSet<u32>, what: &str) -> BTreeSet<u32> {
    let mut opened = open(sim, &spec());
    let came = ids(&drain(&mut opened));
    assert!(came.is_sorted_by(|a, b| a < b), "{what}: {came:?}");
    let missing: BTreeSet<u32> = (0..count).filter(|id| !came.contains(id)).collect();
    assert!(missing.is_subset(touched), "{what}: {missing:?} are missing, {touched:?} were touched");
    let lost: u64 = missing.iter().map(|id| u64::from(entries(*id))).sum();
    let view = opened.shared.view();
    assert_eq!(view.lost_entries, lost, "{what}: {missing:?} are missing");
    let all: u64 = (0..count).map(|id| u64::from(entries(id))).sum();
    assert_eq!(opened.found.entries, all, "{what}: found is what comes and what is lost");
    // It goes on, and the next record is not taken for an old one.
    append(&mut opened, count).unwrap();
    opened.writer.sync().unwrap();
    assert_eq!(ids(&drain(&mut opened)), [count], "{what}");
    missing
}

#[test]
fn any_changed_byte_of_any_segment_costs_its_record_at_most() {
    let sim = filled(30);
    assert!(segments(&sim).len() >= 3, "a first, a middle, and a last one");
    for path in segments(&sim) {
        let bytes = sim.bytes(&path).unwrap();
        let records = layout(&bytes);
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << (at % 8);
            let broken = copied(&sim);
            broken.put(&path, &wrong);
            let touched =
                records.iter().filter(|(_, range)| range.contains(&at)).map(|(id, _)| *id).collect();
            let what = format!("{} byte {at}", path.display());
            let missing = survives(&broken, 30, &touched, &what);
            assert_eq!(missing, touched, "{what}: a changed record cannot be read");
        }
    }
}

#[test]
fn a_zeroed_range_costs_the_records_in_it() {
    let sim = filled(30);
    for path in segments(&sim) {
        let bytes = sim.bytes(&path).unwrap();
        let records = layout(&bytes);
        for start in (0..bytes.len()).step_by(24) {
            for len in [1, 8, 100, 512, 1024] {
                let range = start..(start + len).min(bytes.len());
                let mut wrong = bytes.clone();
                wrong[range.clone()].fill(0);
                let broken = copied(&sim);
                broken.put(&path, &wrong);
                let hit = |of: &Range<usize>| of.start < range.end && range.start < of.end;
                let touched = records.iter().filter(|(_, of)| hit(of)).map(|(id, _)| *id).collect();
                survives(&broken, 30, &touched, &format!("{} {range:?}", path.display()));
            }
        }
    }
}

#[test]
fn a_last_segment_cut_at_any_byte_reopens_to_a_prefix() {
    let sim = filled(30);
    let last = segments(&sim).pop().unwrap();
    let bytes = sim.bytes(&last).unwrap();
    let records = layout(&bytes);
    for cut in 0..=bytes.len() {
        let broken = copied(&sim);
        broken.put(&last, &bytes[..cut]);
        let touched = records.iter().filter(|(_, range)| range.end > cut).map(|(id, _)| *id).collect();
        assert_eq!(survives(&broken, 30, &touched, &format!("cut at {cut}")), touched);
    }
}

#[test]
fn a_torn_end_that_nobody_was_promised_is_cut_off_and_no_loss() {
    let sim = filled(0);
    let mut opened = open(&sim, &spec());
    for id in 0..3 {
        append(&mut opened, id).unwrap();
    }
    opened.writer.sync().unwrap();
    drop(opened);
    let last = segments(&sim).pop().unwrap();
    let bytes = sim.bytes(&last).unwrap();
    let records = layout(&bytes);
    for cut in segment::HEADER..=bytes.len() {
        let torn = copied(&sim);
        torn.put(&last, &bytes[..cut]);
        let mut opened = open(&torn, &spec());
        let whole: Vec<u32> =
            records.iter().filter(|(_, range)| range.end <= cut).map(|(id, _)| *id).collect();
        assert_eq!(ids(&drain(&mut opened)), whole, "cut at {cut}");
        // Its place is used again, in the same segment.
        append(&mut opened, 9).unwrap();
        opened.writer.sync().unwrap();
        drop(opened);
        let mut opened = open(&torn, &spec());
        assert_eq!(ids(&drain(&mut opened)), [whole, vec![9]].concat(), "cut at {cut}");
        assert_eq!((opened.shared.view().lost_entries, segments(&torn).len()), (0, 1), "cut at {cut}");
    }
}

#[test]
fn missing_segments_are_counted_gaps_and_those_below_the_oldest_are_none() {
    let sim = filled(30);
    let all = segments(&sim);
    for (at, path) in all.iter().enumerate() {
        let broken = copied(&sim);
        broken.take(path);
        let gone = layout(&sim.bytes(path).unwrap()).iter().map(|(id, _)| *id).collect();
        assert_eq!(survives(&broken, 30, &gone, &format!("without segment {at}")), gone);
    }
    // All of them gone: counted, and the numbers are not used again.
    let broken = copied(&sim);
    all.iter().for_each(|path| broken.take(path));
    survives(&broken, 30, &(0..30).collect(), "without any");
    // Removed after they were done: nothing is missing.
    let done = copied(&sim);
    let mut opened = open(&done, &spec());
    let records = drain(&mut opened);
    records[..20].iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    opened.shared.persist().unwrap();
    assert!(segments(&done).len() < all.len());
    drop(opened);
    let mut opened = open(&done, &spec());
    assert_eq!((ids(&drain(&mut opened)), opened.shared.view().lost_entries), ((20..30).collect(), 0));
}

#[test]
fn segments_that_were_swapped_renamed_or_copied_are_read_in_order() {
    let sim = filled(30);
    let all = segments(&sim);
    let swapped = copied(&sim);
    swapped.put(&all[0], &sim.bytes(&all[1]).unwrap());
    swapped.put(&all[1], &sim.bytes(&all[0]).unwrap());
    assert!(survives(&swapped, 30, &BTreeSet::new(), "swapped").is_empty());
    for id in [0, 900] {
        let doubled = copied(&sim);
        doubled.put(&Path::new(DIR).join(segment::name(id)), &sim.bytes(&all[1]).unwrap());
        assert!(survives(&doubled, 30, &BTreeSet::new(), "copied").is_empty());
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let sim = filled(30);
    let other = {
        fastrand::seed(99);
        let sim = Sim::new(1);
        let mut opened = open(&sim, &spec());
        append(&mut opened, 500).unwrap();
        opened.writer.sync().unwrap();
        sim.bytes(&segments(&sim)[0]).unwrap()
    };
    let foreign: Vec<(PathBuf, Vec<u8>)> =
        [("notes.txt", b"mine".to_vec()), (&segment::name(3)[..9], vec![1; 99])]
            .into_iter()
            .map(|(name, bytes)| (Path::new(DIR).join(name), bytes))
            .chain([(Path::new(DIR).join(segment::name(77)), other)])
            .collect();
    foreign.iter().for_each(|(path, bytes)| sim.put(path, bytes));
    assert!(survives(&sim, 30, &BTreeSet::new(), "with files of others").is_empty());
    let mut opened = open(&sim, &spec());
    assert_eq!(opened.found.notes.len(), 3, "{:?}", opened.found.notes);
    drain(&mut opened).iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    opened.shared.persist().unwrap();
    for (path, bytes) in foreign {
        assert_eq!(sim.bytes(&path), Some(bytes));
    }
}

#[test]
fn a_later_version_is_refused_and_nothing_is_touched() {
    let sim = filled(30);
    let path = segments(&sim)[1].clone();
    let mut bytes = sim.bytes(&path).unwrap();
    bytes[8] = 2;
    segment::seal(bytes[..].first_chunk_mut().unwrap());
    let mut slots = sim.bytes(&Path::new(DIR).join("state")).unwrap();
    slots[state::SLOT + 8] = 2;
    state::seal(slots[state::SLOT..].first_chunk_mut().unwrap());
    for (path, bytes) in [(path, bytes), (Path::new(DIR).join("state"), slots)] {
        let later = copied(&sim);
        later.put(&path, &bytes);
        let before: Vec<_> = later.files(Path::new(DIR)).iter().map(|path| later.bytes(path)).collect();
        let Err(error) = Buffer::open(Arc::new(later.clone()), spec(), 0) else { panic!("it is opened") };
        assert!(
            error.to_string().contains("version 2") && error.to_string().contains("nothing was touched"),
            "{error}"
        );
        let after: Vec<_> = later.files(Path::new(DIR)).iter().map(|path| later.bytes(path)).collect();
        assert!(before == after);
    }
}

#[test]
fn a_state_that_is_gone_or_damaged_costs_duplicates_and_no_entries() {
    let sim = filled(30);
    let mut opened = open(&sim, &spec());
    drain(&mut opened)[..20].iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    opened.shared.persist().unwrap();
    drop(opened);
    let path = Path::new(DIR).join("state");
    let bytes = sim.bytes(&path).unwrap();
    let breaks = [vec![], bytes[..300].to_vec(), vec![0; 1024], vec![0xff; 1024], bytes[..512].to_vec()];
    for (number, wrong) in breaks.into_iter().enumerate() {
        let broken = copied(&sim);
        broken.put(&path, &wrong);
        let mut opened = open(&broken, &spec());
        let came = ids(&drain(&mut opened));
        let all: Vec<u32> = (came[0]..30).collect();
        assert!(came == all && came[0] <= 20, "break {number}: {came:?}");
        assert_eq!(opened.shared.view().lost_entries, 0, "break {number}");
    }
    let broken = copied(&sim);
    broken.take(&path);
    let mut opened = open(&broken, &spec());
    assert!(ids(&drain(&mut opened)).ends_with(&(20..30).collect::<Vec<_>>()));
    // Either slot alone tells what was removed.
    for slot in [0, state::SLOT] {
        let broken = copied(&sim);
        let mut wrong = bytes.clone();
        wrong[slot + 40] ^= 1;
        broken.put(&path, &wrong);
        let mut opened = open(&broken, &spec());
        drain(&mut opened);
        assert_eq!(opened.shared.view().lost_entries, 0, "slot at {slot}");
    }
}

#[test]
fn damaged_ranges_are_copied_aside_up_to_a_limit() {
    let sim = filled(30);
    let path = segments(&sim)[0].clone();
    let mut bytes = sim.bytes(&path).unwrap();
    let range = layout(&bytes)[2].1.clone();
    bytes[range.start + 3] ^= 1;
    sim.put(&path, &bytes);
    let limited = copied(&sim);
    let mut opened = open(&sim, &spec());
    drain(&mut opened);
    let size = range.len().next_multiple_of(8);
    let view = opened.shared.view();
    assert_eq!((view.damaged_ranges, view.quarantined_bytes), (1, size as u64));
    let aside = sim.files(&Path::new(DIR).join(quarantine::NAME));
    assert_eq!(sim.bytes(&aside[0]).unwrap(), bytes[range.start..range.start + size]);
    assert!(aside[0].to_string_lossy().ends_with(&format!("{}-{}", segment::name(1), range.start)));
    drop(opened);
    // Met again, it is not kept twice.
    let mut opened = open(&sim, &spec());
    drain(&mut opened);
    assert_eq!(opened.shared.view().quarantined_bytes, size as u64);
    let mut opened = open(&limited, &BufferSpec { quarantine_max: 10, ..spec() });
    drain(&mut opened);
    let view = opened.shared.view();
    assert_eq!(
        (view.quarantined_bytes, view.lost_entries),
        (0, u64::from(entries(2))),
        "counted all the same"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_segment_of_anything_gives_what_a_slow_reader_finds(asked in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = [&oracle::header()[..], &oracle::built(&asked)].concat();
        let (expected, lost) = oracle::records(&file, oracle::SALT);
        let sim = Sim::new(1);
        sim.put(&Path::new(DIR).join(segment::name(1)), &file);
        let mut opened = open(&sim, &BufferSpec { segment_size: 4096, max_size: 1 << 20, ..spec() });
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some(head) = opened.reader.next(&mut bytes).unwrap() {
            all.push((head.seq, head.entries, bytes.clone()));
        }
        prop_assert_eq!((all, opened.shared.view().lost_entries), (expected, lost));
    }
}
