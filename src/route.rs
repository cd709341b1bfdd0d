//! Which lanes an entry goes to.
//!
//! A lane without a condition takes all entries that are still wanted, and so does one whose condition holds for every
//! stream of the block: both share row 0 of the block's bits. Only a lane whose condition depends on more than that gets
//! a row of its own. A lane that gets nothing of a block is not named at all.

use crate::block::{Block, Run, count_selected};
use crate::expr::Expr;
use std::ops::Range;

/// Most lanes one source may reach.
pub const LANES_MAX: usize = 64;

/// Each lane's condition, in the order of the plan's lanes.
#[derive(Clone, Debug)]
pub struct Routes {
    conditions: Vec<Option<Expr>>,
}

/// What one lane gets of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneChoice {
    /// The lane's place in the plan.
    pub lane: usize,
    /// The row of the block's bits that selects for it.
    pub row: u16,
    /// How many entries that selects; at least one.
    pub entries: u32,
}

/// Where a block's entries go; used again and again by one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The lanes that get any, in the order of the plan.
    pub lanes: Vec<LaneChoice>,
    /// How many entries go to at least one lane.
    pub routed: u32,
    /// How many copies are made beyond the first of each.
    pub extra: u32,
    /// How many wanted entries no lane takes.
    pub unrouted: u32,
    /// How many entries the steps took out.
    pub filtered: u32,
}

/// What a condition says about all streams of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    None,
    Some,
}

impl Routes {
    /// Routes to as many lanes as there are conditions, at most [`LANES_MAX`]; a lane without one takes everything.
    pub fn new(conditions: Vec<Option<Expr>>) -> Self {
        assert!(conditions.len() <= LANES_MAX, "the config refuses more lanes");
        Routes { conditions }
    }

    /// Chooses the lanes of each wanted entry of `block`, after its pipeline; what `routing` held before is forgotten.
    pub fn route(&self, block: &mut Block, routing: &mut Routing) {
        let all = 0..block.entries().len();
        let live = count_selected(block.selection(0), all.clone()) as u32;
        *routing = Routing { lanes: std::mem::take(&mut routing.lanes), ..Routing::default() };
        routing.filtered = all.len() as u32 - live;
        self.choose_rows(block, &mut routing.lanes, live);

        let rows = routing.lanes.iter().map(|choice| choice.row).max().unwrap_or(0);
        block.open_selections(rows.into(), self.conditions.len());
        for choice in routing.lanes.iter_mut().filter(|choice| choice.row > 0) {
            if let Some(condition) = &self.conditions[choice.lane] {
                choice.entries = fill(block, choice.row.into(), condition);
            }
        }
        routing.routed = routed(block, &routing.lanes, all);
        routing.unrouted = live - routing.routed;
        routing.lanes.retain(|choice| choice.entries > 0);
        routing.extra = routing.lanes.iter().map(|choice| choice.entries).sum::<u32>() - routing.routed;
    }

    /// Names the lanes that may get something, and gives rows to those that must look at entries.
    fn choose_rows(&self, block: &Block, lanes: &mut Vec<LaneChoice>, live: u32) {
        lanes.clear();
        let mut rows = 0;
        for (lane, condition) in self.conditions.iter().enumerate() {
            match condition.as_ref().map_or(Reach::All, |condition| reach(condition, block.runs())) {
                Reach::All => lanes.push(LaneChoice { lane, row: 0, entries: live }),
                Reach::None => {}
                Reach::Some => {
                    rows += 1;
                    lanes.push(LaneChoice { lane, row: rows, entries: 0 });
                }
            }
        }
    }
}

fn reach(condition: &Expr, runs: &[Run]) -> Reach {
    let mut reaches = runs.iter().map(|run| match condition.constant_for(&run.stream) {
        Some(true) => Reach::All,
        Some(false) => Reach::None,
        None => Reach::Some,
    });
    let first = reaches.next().unwrap_or(Reach::None);
    if reaches.all(|reach| reach == first) { first } else { Reach::Some }
}

/// Selects in `row` what meets the condition, run by run; gives how many.
fn fill(block: &mut Block, row: usize, condition: &Expr) -> u32 {
    let mut entries = 0;
    let mut judge = condition.judge(block);
    for run in 0..block.runs().len() {
        let here = &block.runs()[run];
        let span = here.first as usize..here.end as usize;
        entries += match condition.constant_for(&here.stream) {
            Some(false) => 0,
            Some(true) => fill_span(block, row, span, |_, _, wanted| wanted),
            None => fill_span(block, row, span, |block, first, wanted| judge.word(block, first, wanted)),
        };
    }
    entries
}

/// Selects in `row` the wanted entries of `span` that `choose` takes, 64 at a time; gives how many.
fn fill_span(
    block: &mut Block,
    row: usize,
    span: Range<usize>,
    mut choose: impl FnMut(&Block, usize, u64) -> u64,
) -> u32 {
    let mut entries = 0;
    for word in span.start / 64..span.end.div_ceil(64) {
        let first = word * 64;
        let end = span.end.min(first + 64) - first;
        let within = if end == 64 { u64::MAX } else { (1 << end) - 1 };
        let within = within & (u64::MAX << (span.start.max(first) - first));
        let chosen = choose(block, first, block.selection(0)[word] & within);
        block.select_word(row, word, chosen);
        entries += chosen.count_ones();
    }
    entries
}

/// How many entries at least one of the lanes gets.
fn routed(block: &Block, lanes: &[LaneChoice], all: Range<usize>) -> u32 {
    if let Some(whole) = lanes.iter().find(|choice| choice.row == 0) {
        return whole.entries;
    }
    let union = |word| lanes.iter().fold(0, |bits, choice| bits | block.selection(choice.row.into())[word]);
    (0..all.end.div_ceil(64)).map(|word| union(word).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::selected;
    use crate::entry::{Entry, Field, Kind};
    use crate::labels::{Labels, SourceId, Stream};
    use proptest::prelude::*;
    use std::sync::Arc;

    const CONDITIONS: [Option<&str>; 8] = [
        None,
        Some("labels.app == 'a'"),
        Some("labels.app != 'a'"),
        Some("level == 'error'"),
        Some("level == 'error' or labels.app == 'b'"),
        Some("not level == 'error' and labels.app == 'b'"),
        Some("source == 's'"),
        Some("source != 's'"),
    ];

    /// A block of runs of (app, levels).
    fn block_of(runs: &[(usize, Vec<bool>)]) -> Block {
        let mut block = Block::new(4096);
        for (app, levels) in runs {
            let labels = Labels::new([("app", ["a", "b", "c"][*app])]);
            block.begin_run(&Arc::new(Stream::new(SourceId(0), "s".into(), "test", "o", labels)));
            levels.iter().for_each(|_| block.push(Entry::at(0, 0)));
        }
        block.reset_side();
        let slices = [&b"level"[..], b"error", b"info"].map(|bytes| block.store(bytes).unwrap());
        for (at, error) in runs.iter().flat_map(|(_, levels)| levels).enumerate() {
            let value = if *error { slices[1] } else { slices[2] };
            block.set_field(at, Field::new(slices[0], value, Kind::Plain)).unwrap();
        }
        block
    }

    /// Whether the lane with this condition gets an entry; written out by hand.
    fn naive(condition: usize, app: usize, error: bool) -> bool {
        match condition {
            1 => app == 0,
            2 => app != 0,
            3 => error,
            4 => error || app == 1,
            5 => !error && app == 1,
            7 => false,
            _ => true,
        }
    }

    fn routes(conditions: &[usize]) -> Routes {
        Routes::new(
            conditions.iter().map(|at| CONDITIONS[*at].map(|text| Expr::compile(text).unwrap())).collect(),
        )
    }

    proptest! {
        #[test]
        fn every_entry_goes_where_a_naive_walk_sends_it(
            runs in prop::collection::vec((0..3_usize, prop::collection::vec(any::<bool>(), 1..90)), 0..4),
            conditions in prop::collection::vec(0..CONDITIONS.len(), 0..6),
            discarded in prop::collection::vec(0..300_usize, 0..40),
        ) {
            let mut block = block_of(&runs);
            let entries: Vec<_> =
                runs.iter().flat_map(|(app, levels)| levels.iter().map(|error| (*app, *error))).collect();
            discarded.iter().filter(|at| **at < entries.len()).for_each(|at| block.discard(*at));
            let live = |at: usize| !discarded.contains(&at);
            let mut routing = Routing { routed: 99, lanes: vec![LaneChoice { lane: 9, row: 9, entries: 9 }], ..Routing::default() };
            routes(&conditions).route(&mut block, &mut routing);

            let mut copies = vec![0; entries.len()];
            for (lane, condition) in conditions.iter().enumerate() {
                let expected: Vec<_> = (0..entries.len())
                    .filter(|at| live(*at) && naive(*condition, entries[*at].0, entries[*at].1))
                    .collect();
                expected.iter().for_each(|at| copies[*at] += 1);
                let found: Vec<_> = routing.lanes.iter().filter(|choice| choice.lane == lane).collect();
                prop_assert_eq!(found.len(), usize::from(!expected.is_empty()));
                for choice in found {
                    let places = selected(block.selection(choice.row.into()), 0..entries.len()).collect::<Vec<_>>();
                    prop_assert_eq!(choice.entries as usize, expected.len());
                    prop_assert_eq!(&places, &expected);
                }
            }
            let wanted = (0..entries.len()).filter(|at| live(*at)).count();
            let routed = copies.iter().filter(|copies| **copies > 0).count();
            prop_assert_eq!(routing.filtered as usize, entries.len() - wanted);
            prop_assert_eq!(routing.routed as usize, routed);
            prop_assert_eq!(routing.unrouted as usize, wanted - routed);
            prop_assert_eq!(routing.extra as usize, copies.iter().sum::<usize>() - routed);
        }
    }

    #[test]
    fn lanes_that_whole_streams_decide_share_the_row_of_wanted_entries() {
        let mut block = block_of(&[(0, vec![true, false])]);
        let mut routing = Routing::default();
        routes(&[0, 1, 2, 6]).route(&mut block, &mut routing);
        let rows: Vec<_> =
            routing.lanes.iter().map(|choice| (choice.lane, choice.row, choice.entries)).collect();
        assert_eq!(rows, [(0, 0, 2), (1, 0, 2), (3, 0, 2)]);
        assert_eq!((routing.routed, routing.extra), (2, 4));
    }

    #[test]
    fn sixty_four_lanes_with_conditions_of_their_own_each_get_theirs() {
        let mut block = block_of(&[(0, vec![true; 130])]);
        let mut routing = Routing::default();
        routes(&[3; LANES_MAX]).route(&mut block, &mut routing);
        assert!(routing.lanes.iter().enumerate().all(|(at, choice)| choice.row as usize == at + 1));
        assert_eq!((routing.lanes.len(), routing.routed, routing.extra), (64, 130, 63 * 130));
    }
}
