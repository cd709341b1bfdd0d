//! The limits over blocks: what of them goes on, what waits, what is dropped.

use super::*;
use crate::entry::Entry;
use crate::labels::{SourceId, Stream};

fn limit(keys: &str, now: Instant) -> Arc<RateLimit> {
    let config: RateLimitConfig = serde_yaml::from_str(&format!("{{ {keys} }}")).expect("a limit");
    let limit = RateLimit::default();
    limit.set(Some(&config), now);
    Arc::new(limit)
}

fn limits(all: &str, own: &str, now: Instant) -> Limits {
    let or_none = |keys: &str| if keys.is_empty() { Arc::default() } else { limit(keys, now) };
    Limits { all: or_none(all), own: or_none(own), pacer: Arc::default() }
}

/// A block with so many entries of each tenant.
fn block(runs: &[(&str, usize)]) -> Block {
    let mut block = Block::new(64 << 10);
    for (tenant, count) in runs {
        let labels = Labels::new([("tenant", *tenant)]);
        let stream = Stream::new(SourceId(0), "s".into(), "test", *tenant, labels);
        block.begin_run(&Arc::new(stream));
        for _ in 0..*count {
            let at = block.append(b"x\n").expect("it fits");
            block.push(Entry::at(at, 1));
        }
    }
    block
}

fn left(block: &Block) -> Vec<(String, u32)> {
    block.runs().iter().map(|run| (run.stream.origin.to_string(), run.end - run.first)).collect()
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const GO: Admission = Admission::Go { dropped: 0 };

#[test]
fn without_a_limit_everything_goes() {
    let (limits, now) = (Limits::default(), Instant::now());
    assert_eq!((limits.admit(&mut block(&[("a", 4000)]), now), limits.wait(None, now)), (GO, None));
    assert_eq!((limits.allowance(1000, now), limits.is_on()), (1000, false));
    let off = self::limits("enabled: false, entries_per_second: 1, mode: drop", "", now);
    assert_eq!((off.admit(&mut block(&[("a", 100)]), now), off.is_on()), (GO, false));
}

#[test]
fn what_comes_too_fast_is_dropped_from_the_end_to_the_entry() {
    let now = Instant::now();
    let limits = limits("", "entries_per_second: 10, burst: 25, mode: drop", now);
    let mut first = block(&[("a", 10), ("b", 20)]);
    assert_eq!(limits.admit(&mut first, now), Admission::Go { dropped: 5 });
    assert_eq!(left(&first), [("a".into(), 10), ("b".into(), 15)]);
    let mut second = block(&[("a", 10), ("b", 20)]);
    assert_eq!(limits.admit(&mut second, now + secs(1)), Admission::Go { dropped: 20 });
    assert_eq!(left(&second), [("a".into(), 10)]);
    assert_eq!(limits.wait(None, now + secs(1)), None, "nobody waits where entries are dropped");
}

#[test]
fn what_has_to_wait_waits_whole_and_costs_nothing_meanwhile() {
    let now = Instant::now();
    let limits = limits("entries_per_second: 100, burst: 50", "entries_per_second: 10, burst: 30", now);
    assert_eq!(limits.allowance(1000, now), 30, "a block is no larger than what may go");
    assert_eq!(limits.admit(&mut block(&[("a", 30)]), now), GO);
    let mut next = block(&[("a", 20)]);
    let until = now + secs(2);
    // The limit of all has room for it, but that is given back.
    for _ in 0..10 {
        assert_eq!(limits.admit(&mut next, now), Admission::Wait(until));
    }
    assert_eq!((left(&next), limits.wait(None, now)), (vec![("a".into(), 20)], Some(now + secs(1) / 10)));
    assert_eq!(limits.all.allowance(now), Some(20));
    assert_eq!(limits.admit(&mut next, until), GO);
    limits.give_back(&next, until);
    assert_eq!(limits.admit(&mut next, until), GO, "there was no room elsewhere: it asks again");
}

#[test]
fn each_value_of_a_label_has_a_limit_of_its_own_and_those_beyond_the_bound_share_one() {
    let now = Instant::now();
    let keys = "per: labels.tenant, entries_per_second: 10, burst: 10, mode: drop, max_keys: 2";
    let limits = limits("", keys, now);
    let mut all = block(&[("a", 15), ("b", 5), ("a", 3), ("c", 8), ("d", 8)]);
    assert_eq!(limits.admit(&mut all, now), Admission::Go { dropped: 5 + 3 + 6 });
    assert_eq!(left(&all), [("a".into(), 10), ("b".into(), 5), ("c".into(), 8), ("d".into(), 2)]);
    assert_eq!(limits.own.keys(), 2);
    // The first two were not heard of for a while: others may have their places.
    let mut later = block(&[("d", 10), ("c", 10)]);
    assert_eq!(limits.admit(&mut later, now + secs(9)), GO);
    assert_eq!(limits.own.keys(), 2);
}

#[test]
fn one_value_that_has_to_wait_holds_up_its_block_and_takes_nothing_from_the_others() {
    let now = Instant::now();
    let limits = limits("", "per: labels.tenant, entries_per_second: 10, burst: 10", now);
    assert_eq!(limits.admit(&mut block(&[("b", 10)]), now), GO);
    let mut mixed = block(&[("a", 8), ("b", 5)]);
    assert_eq!(limits.admit(&mut mixed, now), Admission::Wait(now + secs(1) / 2));
    assert_eq!(limits.admit(&mut block(&[("a", 10)]), now), GO, "what was taken for it was given back");
    let of = |tenant: &str| Labels::new([("tenant", tenant)]);
    assert!(limits.wait(Some(&of("a")), now).is_some() && limits.wait(Some(&of("z")), now).is_none());
    assert_eq!(limits.wait(None, now), None, "whose entries would come is not known yet");
}

#[test]
fn two_that_drop_take_from_each_what_goes_on_and_no_more() {
    let now = Instant::now();
    let all = "entries_per_second: 10, burst: 50, mode: drop";
    let limits = limits(all, "entries_per_second: 10, burst: 20, mode: drop", now);
    assert_eq!(limits.admit(&mut block(&[("a", 60)]), now), Admission::Go { dropped: 40 });
    let other = Limits { own: Arc::default(), ..limits };
    assert_eq!(other.admit(&mut block(&[("b", 60)]), now), Admission::Go { dropped: 30 });
}

#[test]
fn one_that_paces_beside_one_that_drops_pays_for_what_goes_on_alone() {
    let now = Instant::now();
    let limits =
        limits("entries_per_second: 10, burst: 50", "entries_per_second: 10, burst: 20, mode: drop", now);
    assert_eq!(limits.admit(&mut block(&[("a", 40)]), now), Admission::Go { dropped: 20 });
    assert_eq!(limits.all.allowance(now), Some(30));
}

#[test]
fn another_limit_holds_at_once_and_what_was_saved_up_stays_within_it() {
    let now = Instant::now();
    let limits = limits("", "entries_per_second: 10, burst: 100, mode: drop", now);
    assert_eq!(limits.admit(&mut block(&[("a", 60)]), now), GO);
    let set = |keys: &str| {
        let config: RateLimitConfig = serde_yaml::from_str(keys).expect("a limit");
        limits.own.set(Some(&config), now);
    };
    set("{ entries_per_second: 10, burst: 20, mode: drop }");
    assert_eq!(limits.admit(&mut block(&[("a", 60)]), now), Admission::Go { dropped: 40 });
    set("{ entries_per_second: 1000, burst: 1000, mode: drop }");
    assert_eq!(limits.admit(&mut block(&[("a", 600)]), now + secs(1)), GO);
    limits.own.set(None, now);
    assert_eq!(limits.admit(&mut block(&[("a", 4000)]), now), GO);
}
