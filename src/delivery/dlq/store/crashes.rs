//! The letters on a disk that is full, fails, or forgets what was not synced.

use super::tests::{block, letter};
use super::*;
use crate::delivery::dlq::read::look;
use crate::delivery::letters::LetterReason;
use crate::storage_io::sim::{Op, Sim};
use std::collections::{BTreeMap, BTreeSet};

const EIO: i32 = 5;

fn open(sim: &Sim) -> Store {
    let config = DlqConfig { max_bytes: DlqConfig::MAX_BYTES_MIN, ..DlqConfig::default() };
    Store::open(Arc::new(sim.clone()), "/dlq".into(), config, Instant::now(), 1).unwrap()
}

fn keep(store: &Store, text: &str) -> io::Result<()> {
    let block = block(text, None);
    store.keep_at(&[letter(&block, LetterReason::Rejected)], Instant::now(), 1)
}

/// The texts of all letters with their numbers, the oldest first.
fn there(sim: &Sim) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let seen = look(sim, Path::new("/dlq"), &Filter::default(), &mut |number, letter| {
        all.push((number, String::from_utf8(letter.entry.received).unwrap()));
        Ok(true)
    });
    seen.unwrap();
    all
}

fn texts(sim: &Sim) -> Vec<String> {
    there(sim).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn on_a_full_disk_letters_wait_and_with_room_again_each_is_kept_once() {
    let sim = Sim::new(1);
    let store = open(&sim);
    keep(&store, "first").unwrap();
    let big = "x".repeat(700_000);
    sim.set_room(0);
    let mut kept = 0;
    let refused = loop {
        match keep(&store, &format!("{kept}{big}")) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 20, "there is no room for so many");
    };
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    for _ in 0..5 {
        assert!(keep(&store, &format!("{kept}{big}")).is_err());
    }
    let stats = store.stats(Instant::now(), 1);
    assert!(stats.trouble.is_some() && stats.letters == kept + 1 && stats.alarm.is_none(), "{stats:?}");
    sim.set_room(u64::MAX);
    keep(&store, &format!("{kept}{big}")).unwrap();
    keep(&store, "last").unwrap();
    assert_eq!(store.stats(Instant::now(), 1).trouble, None);
    for _ in 0..2 {
        let texts = texts(&sim);
        let firsts: Vec<_> = texts.iter().map(|text| &text[..1]).collect();
        let digits: Vec<_> = (0..=kept).map(|n| n.to_string()).collect();
        let expected: Vec<&str> =
            ["f"].into_iter().chain(digits.iter().map(String::as_str)).chain(["l"]).collect();
        assert_eq!(firsts, expected);
        sim.crash();
    }
}

#[test]
fn a_disk_that_fails_costs_no_letter_and_doubles_none() {
    for (op, after) in [(Op::SyncData, 0), (Op::SyncData, 1), (Op::Write, 0), (Op::Write, 1)] {
        let sim = Sim::new(2);
        let store = open(&sim);
        keep(&store, "0").unwrap();
        sim.fail(op, after, 4, EIO);
        for number in 1..6 {
            let mut tries = 0;
            while keep(&store, &number.to_string()).is_err() {
                tries += 1;
                assert!(tries < 20, "{op:?} {after}");
            }
        }
        sim.heal();
        store.maintain(Instant::now(), 1);
        drop(store);
        sim.crash();
        let store = open(&sim);
        assert_eq!(texts(&sim), ["0", "1", "2", "3", "4", "5"], "{op:?} {after}");
        assert_eq!(store.stats(Instant::now(), 1).letters, 6);
    }
}

#[test]
fn whenever_the_power_fails_what_was_kept_is_there_and_what_was_removed_is_not() {
    for seed in 0..300 {
        let sim = Sim::new(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        // What must be there, and what may be: that of calls that did not return.
        let (mut must, mut may) = (BTreeSet::new(), BTreeSet::new());
        let mut known = BTreeMap::new();
        let mut next = 0;
        for _ in 0..4 {
            let store = open(&sim);
            sim.cut_power_after(random.u64(1..60));
            for _ in 0..random.usize(1..30) {
                let text = format!("letter {next}");
                next += 1;
                match keep(&store, &text) {
                    Ok(()) => {
                        let number = store.select(&Filter::default()).last().copied().unwrap();
                        known.insert(number, text.clone());
                        must.insert(text);
                    }
                    Err(_) => drop(may.insert(text)),
                }
                if random.u8(..4) == 0 {
                    let numbers = store.select(&Filter::default());
                    let Some(number) = random.choice(&numbers).copied() else { continue };
                    // One that was kept by a call that failed may be there as well.
                    let Some(text) = known.get(&number).cloned() else { continue };
                    must.remove(&text);
                    if store.remove(&[number], End::Settled, Instant::now(), 1).is_err() {
                        may.insert(text);
                    } else {
                        may.remove(&text);
                    }
                }
                if random.u8(..8) == 0 {
                    store.maintain(Instant::now(), 1);
                }
            }
            drop(store);
            sim.heal();
            if random.bool() { sim.crash() } else { sim.kill() }
        }
        let store = open(&sim);
        let found: BTreeSet<String> = texts(&sim).into_iter().collect();
        let lost: Vec<_> = must.difference(&found).collect();
        let back: Vec<_> =
            found.iter().filter(|text| !must.contains(*text) && !may.contains(*text)).collect();
        assert!(lost.is_empty() && back.is_empty(), "seed {seed}: lost {lost:?}, back {back:?}");
        assert_eq!(store.stats(Instant::now(), 1).letters as usize, there(&sim).len(), "seed {seed}");
    }
}
