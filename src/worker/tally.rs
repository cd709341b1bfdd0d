//! What became of a block's entries, counted from the block itself, before and after the ordered steps decided.

use super::Plan;
use crate::block::{Block, count_selected};
use crate::clock::SteadyNanos;
use crate::route::Routing;
use smallvec::SmallVec;

/// What became of a block's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub filtered: u64,
    pub routed: u64,
    pub unrouted: u64,
    pub extra: u64,
    /// Those on which a step panicked.
    pub panicked: u64,
    /// Of all that steps gave up, what nobody keeps: because of a panic, and for other reasons.
    pub dropped: (u64, u64),
    /// What a `throttle` took out.
    pub throttled: u64,
}

impl Tally {
    /// As the block was routed; of what steps gave up, `panicked` are because of a panic, and all is `kept` or nothing.
    pub fn of(routing: &Routing, (refused, panicked): (u64, u64), kept: bool) -> Tally {
        Tally {
            filtered: u64::from(routing.filtered) - refused,
            routed: u64::from(routing.routed) + if kept { refused } else { 0 },
            unrouted: routing.unrouted.into(),
            extra: routing.extra.into(),
            panicked,
            dropped: if kept { (0, 0) } else { (panicked, refused - panicked) },
            throttled: 0,
        }
    }

    /// The same, counted from a block of which something was taken out since; `throttled` of that was to be dropped.
    fn of_rest(plan: &Plan, block: &Block, throttled: u64) -> Tally {
        let all = block.entries().len();
        let live = count_selected(block.selection(0), 0..all) as u32;
        let lanes = || block.cuts().iter().filter(|cut| Some(usize::from(cut.lane)) != plan.letters);
        let routed = routed(block, live, lanes().map(|cut| cut.row).collect());
        let routing = Routing {
            routed,
            extra: lanes().map(|cut| cut.entries).sum::<u32>() - routed,
            unrouted: live - routed,
            filtered: all as u32 - live - throttled as u32,
            ..Routing::default()
        };
        let refused = block.refused().len() as u64;
        let panicked = block.refused().iter().filter(|refusal| refusal.panicked).count() as u64;
        let kept = plan.letters.is_some() && refused > 0;
        Tally { throttled, ..Tally::of(&routing, (refused, panicked), kept) }
    }
}

/// How many of the `live` entries at least one of the `rows` selects.
fn routed(block: &Block, live: u32, mut rows: SmallVec<[u16; 64]>) -> u32 {
    rows.sort_unstable();
    rows.dedup();
    if rows.first() == Some(&0) {
        return live;
    }
    let union = |word: usize| rows.iter().fold(0, |bits, row| bits | block.selection((*row).into())[word]);
    (0..block.entries().len().div_ceil(64)).map(|word| union(word).count_ones()).sum()
}

/// Has the plan's ordered steps decide, and takes out of the block and its `tally` what they take out.
pub(super) fn decide(plan: &Plan, block: &mut Block, shipped: SteadyNanos, tally: &mut Tally) {
    let decided = plan.pipeline.decide(block, shipped);
    if decided.taken > 0 {
        block.take_out(&decided.out);
        *tally = Tally::of_rest(plan, block, decided.throttled);
    }
}
