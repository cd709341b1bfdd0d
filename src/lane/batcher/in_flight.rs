//! How many batches may be with the sink at once: one more while that helps, fewer when the sink suffers.
//!
//! After the adaptive request concurrency of Vector, which judges a group of answers by the mean and the deviation of those
//! before. There it is the latency that is judged. Here batches change their size, and with it what a request should take:
//! judged is by how much it takes longer than `a + b * entries` says. So a sink that is slower than it was is not starved,
//! but one that is slower because of us is given room.

/// The weight of the newest group in the mean and in the variance.
const ALPHA: f64 = 0.4;
/// Deviations from the mean that are taken for chance.
const DEVIATIONS: f64 = 2.5;
/// What is not worth a reaction, whatever the deviation: a quarter of what a request should take.
const SLACK: f64 = 0.25;
/// What is left of the limit after a group that went badly.
const LESS: f64 = 0.9;
/// Fewest answers in a group after the first that went badly, so that a single slow one is not its median.
const GROUP_MIN: usize = 3;

/// The bounds of one sink's batches that are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightLimits {
    /// How many may be out at first.
    pub start: usize,
    /// How many may be out at most.
    pub most: usize,
}

impl InFlightLimits {
    /// As many as there are senders.
    pub const NONE: InFlightLimits = InFlightLimits { start: usize::MAX, most: usize::MAX };
}

/// Decides for one lane.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    limits: InFlightLimits,
    limit: f64,
    /// How the answers since the last decision compare with what was expected.
    group: Vec<f64>,
    answers: usize,
    /// One of these answers was that the sink has too much.
    overloaded: bool,
    /// A batch was due and had to wait for another to come back.
    held_up: bool,
    /// Mean and variance of the groups' medians.
    usual: Option<(f64, f64)>,
    /// No group went badly so far: the limit doubles, as batches do then.
    ramping: bool,
}

impl InFlight {
    pub(super) fn new(limits: InFlightLimits) -> Self {
        InFlight {
            limits,
            limit: limits.start.clamp(1, limits.most.max(1)) as f64,
            group: Vec::new(),
            answers: 0,
            overloaded: false,
            held_up: false,
            usual: None,
            ramping: true,
        }
    }

    /// Other bounds; if they are the same, what was found out stays.
    pub(super) fn set_limits(&mut self, limits: InFlightLimits) {
        if limits != self.limits {
            *self = InFlight::new(limits);
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(super) fn most(&self) -> usize {
        self.limits.most
    }

    /// A batch is due and has to wait for another to come back.
    pub(super) fn held_up(&mut self) {
        self.held_up = true;
    }

    /// The sink answered: that it has too much, or after `ratio` times as long as was expected.
    pub(super) fn answered(&mut self, overloaded: bool, ratio: Option<f64>) {
        if self.limits.most <= 1 || self.limits.start == usize::MAX {
            return;
        }
        self.answers += 1;
        self.overloaded |= overloaded;
        self.group.extend(ratio);
        let group = if self.ramping { self.limit() } else { self.limit().max(GROUP_MIN) };
        if self.answers >= group {
            self.decide();
        }
    }

    fn decide(&mut self) {
        let median = median(&mut self.group);
        let slow = median.is_some_and(|median| match self.usual {
            Some((mean, variance)) => median > mean + DEVIATIONS * variance.sqrt() + SLACK,
            None => false,
        });
        if self.overloaded || slow {
            self.limit = (self.limit * LESS).max(1.0);
            self.ramping = false;
        } else if self.held_up {
            let more = if self.ramping { self.limit } else { 1.0 };
            self.limit = (self.limit + more).min(self.limits.most as f64);
        }
        if let Some(median) = median {
            self.usual = Some(match self.usual {
                None => (median, 0.0),
                Some((mean, variance)) => {
                    let off = median - mean;
                    (mean + ALPHA * off, (1.0 - ALPHA) * (variance + ALPHA * off * off))
                }
            });
        }
        self.group.clear();
        (self.answers, self.overloaded, self.held_up) = (0, false, false);
    }
}

fn median(group: &mut [f64]) -> Option<f64> {
    group.sort_by(f64::total_cmp);
    group.get(group.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(start: usize, most: usize) -> InFlight {
        InFlight::new(InFlightLimits { start, most })
    }

    /// As many answers as one decision takes.
    fn group(in_flight: &mut InFlight, ratio: f64) {
        let least = if in_flight.ramping { 1 } else { GROUP_MIN };
        for _ in 0..in_flight.limit().max(least) {
            in_flight.answered(false, Some(ratio));
        }
    }

    #[test]
    fn it_grows_only_while_batches_have_to_wait_doubling_until_a_group_goes_badly_and_then_by_one() {
        let mut in_flight = in_flight(1, 9);
        group(&mut in_flight, 1.0);
        assert_eq!(in_flight.limit(), 1, "nothing waited");
        let grown = |in_flight: &mut InFlight| {
            in_flight.held_up();
            group(in_flight, 1.0);
            in_flight.limit()
        };
        assert_eq!([grown(&mut in_flight), grown(&mut in_flight), grown(&mut in_flight)], [2, 4, 8]);
        (0..8).for_each(|_| in_flight.answered(true, None));
        assert_eq!(in_flight.limit(), 7);
        assert_eq!([grown(&mut in_flight), grown(&mut in_flight), grown(&mut in_flight)], [8, 9, 9]);
        group(&mut in_flight, 1.0);
        assert_eq!(in_flight.limit(), 9, "and it does not go back by itself");
    }

    #[test]
    fn an_overloaded_sink_gets_less_once_per_group_and_one_at_least() {
        let mut in_flight = in_flight(10, 10);
        (0..10).for_each(|_| in_flight.answered(true, None));
        assert_eq!(in_flight.limit(), 9, "ten answers of one moment are one reason");
        (0..1000).for_each(|_| in_flight.answered(true, None));
        assert_eq!(in_flight.limit(), 1);
    }

    #[test]
    fn a_sudden_slowness_lowers_it_and_a_lasting_one_becomes_usual() {
        let mut in_flight = in_flight(8, 8);
        (0..5).for_each(|_| group(&mut in_flight, 1.0));
        in_flight.held_up();
        group(&mut in_flight, 1.2);
        assert_eq!(in_flight.limit(), 8, "a fifth is not worth a reaction");
        (0..5).for_each(|_| group(&mut in_flight, 1.0));
        group(&mut in_flight, 2.0);
        assert_eq!(in_flight.limit(), 7);
        for _ in 0..20 {
            in_flight.held_up();
            group(&mut in_flight, 2.0);
        }
        assert_eq!(in_flight.limit(), 8);
    }

    #[test]
    fn one_slow_answer_of_a_group_is_chance() {
        let mut in_flight = in_flight(3, 8);
        (0..5).for_each(|_| group(&mut in_flight, 1.0));
        [1.0, 30.0, 1.0].into_iter().for_each(|ratio| in_flight.answered(false, Some(ratio)));
        assert_eq!(in_flight.limit(), 3);
    }

    #[test]
    fn other_bounds_begin_anew_and_the_same_change_nothing() {
        let mut in_flight = in_flight(1, 4);
        in_flight.held_up();
        group(&mut in_flight, 1.0);
        in_flight.set_limits(InFlightLimits { start: 1, most: 4 });
        assert_eq!(in_flight.limit(), 2);
        in_flight.set_limits(InFlightLimits { start: 6, most: 6 });
        assert_eq!(in_flight.limit(), 6);
    }
}
