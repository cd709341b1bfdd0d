//! What a destination does to requests, and when.

use std::time::{Duration, Instant};

/// What is done with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Taken, and said so.
    Take,
    /// Taken, and said so after a while.
    Slow(Duration),
    /// Refused with a status; with `Retry-After` in seconds.
    Refuse(u16, Option<u32>),
    /// Requests with poison in them are refused with this status, all others taken.
    RefusePoison(u16),
    /// Poison alone is not taken, and the answer says, as Loki does, how many entries that were; all others are taken.
    SkipPoison,
    /// Taken; the answer follows byte by byte, this long apart, without end.
    Drip(Duration),
    /// The connection is reset before anything was taken.
    ResetBefore,
    /// Taken, and then the connection is reset.
    ResetAfter,
    /// Taken; the connection ends in the middle of the answer.
    Half,
    /// Not taken; nothing is ever said.
    Silence,
}

/// Which acts, from when on, and how likely each is.
#[derive(Clone, Debug)]
pub struct Timeline {
    begun: Instant,
    random: fastrand::Rng,
    phases: Vec<(Duration, Vec<(u32, Act)>)>,
}

impl Timeline {
    /// The same for ever.
    pub fn always(act: Act) -> Timeline {
        Timeline::mix(0, vec![(1, act)])
    }

    /// Acts by weight, for ever.
    pub fn mix(seed: u64, acts: Vec<(u32, Act)>) -> Timeline {
        Timeline::phases(seed, vec![(Duration::ZERO, acts)])
    }

    /// Each phase begins so long after the timeline does. The first begins at zero.
    pub fn phases(seed: u64, phases: Vec<(Duration, Vec<(u32, Act)>)>) -> Timeline {
        assert!(phases.first().is_some_and(|(from, _)| from.is_zero()), "a first phase from the beginning");
        Timeline { begun: Instant::now(), random: fastrand::Rng::with_seed(seed), phases }
    }

    /// What is done with the next request.
    pub fn next(&mut self, now: Instant) -> Act {
        let since = now.saturating_duration_since(self.begun);
        let now = self.phases.iter().rev().find(|(from, _)| *from <= since);
        let acts = &now.expect("one from the beginning").1;
        let mut at = self.random.u32(0..acts.iter().map(|(weight, _)| weight).sum());
        let chosen = acts.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        chosen.expect("weights are above zero").1.clone()
    }
}
