//! What comes after a failed attempt: again, and when; in parts; or never. Decided from what the attempt said, what went
//! before, and the time.

use super::retry::Retry;
use crate::batch::LetterReason;
use std::time::{Duration, Instant};

/// How often what panics is tried as it is: once could be an accident.
const PANICS_MAX: u32 = 2;

/// How long a sink is borne with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The pace of attempts.
    pub retry: Retry,
    /// Further attempts after answers about the batch itself; `None`: without end.
    pub max_retries: Option<u32>,
    /// How long a sink may keep us out before its entries are dead letters.
    pub auth_grace: Duration,
}

/// What an attempt failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The destination is unwell or out of reach.
    Unwell {
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// It could not work on what it was sent.
    Answered {
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// It does not let us in, nor anyone of ours since `since`.
    Denied {
        /// When it began.
        since: Instant,
    },
    /// It refused what it was sent as a whole.
    Refused,
    /// The sink's code panicked.
    Panicked,
}

impl Failure {
    /// Whether it says that the destination cannot take as much as it is given.
    pub fn is_overload(self) -> bool {
        matches!(self, Failure::Unwell { .. } | Failure::Answered { .. })
    }
}

/// What some entries went through so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// Attempts that failed, whatever the reason.
    pub failures: u32,
    /// Answers about the entries themselves.
    answers: u32,
    panics: u32,
    denied_since: Option<Instant>,
    /// They are part of more that was given up for this reason: once more is enough.
    suspected: Option<LetterReason>,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same again after this time.
    Again(Duration),
    /// In parts; an entry alone is not tried any more.
    Split(LetterReason),
    /// None of them is tried any more.
    GiveUp(LetterReason),
}

impl Trial {
    /// What the parts of these went through.
    pub fn of_part(&self, reason: LetterReason) -> Trial {
        Trial { failures: self.failures, suspected: Some(reason), ..Trial::default() }
    }

    /// Whether they are part of more that was taken apart.
    pub fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }
}

impl Patience {
    /// What comes after `failure` at `now`. `chance` is uniform in `0.0..1.0`.
    pub fn next(&self, trial: &mut Trial, failure: Failure, now: Instant, chance: f64) -> Next {
        trial.failures = trial.failures.saturating_add(1);
        if !matches!(failure, Failure::Denied { .. }) {
            trial.denied_since = None;
        }
        let again = |times: u32, after| Next::Again(self.retry.wait(times, after, chance));
        match failure {
            Failure::Unwell { after } => again(trial.failures, after),
            Failure::Answered { after } => {
                trial.answers = trial.answers.saturating_add(1);
                let known = trial.suspected == Some(LetterReason::RetriesSpent);
                match self.max_retries {
                    Some(most) if known || trial.answers > most => Next::Split(LetterReason::RetriesSpent),
                    _ => again(trial.failures, after),
                }
            }
            Failure::Denied { since } => {
                let since = since.min(*trial.denied_since.get_or_insert(now));
                match now.saturating_duration_since(since) >= self.auth_grace {
                    true => Next::GiveUp(LetterReason::Denied),
                    false => Next::Again(self.retry.backoff_max),
                }
            }
            Failure::Refused => Next::Split(LetterReason::Rejected),
            Failure::Panicked => {
                trial.panics += 1;
                let known = trial.suspected == Some(LetterReason::Panic);
                match known || trial.panics >= PANICS_MAX {
                    true => Next::Split(LetterReason::Panic),
                    false => again(trial.failures, None),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const ANSWERED: Failure = Failure::Answered { after: None };

    fn patience() -> Patience {
        let retry = Retry { backoff: S, backoff_max: 60 * S, multiplier: 2.0, jitter: false };
        Patience { retry, max_retries: Some(3), auth_grace: 3600 * S }
    }

    #[test]
    fn an_unwell_sink_is_tried_for_ever() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        for times in 1..10_000 {
            let next = patience().next(&mut trial, Failure::Unwell { after: None }, now, 0.5);
            let Next::Again(wait) = next else { panic!("{next:?} after {times}") };
            assert!(wait <= 60 * S);
        }
        let asked = Failure::Unwell { after: Some(90 * S) };
        assert_eq!(patience().next(&mut trial, asked, now, 0.5), Next::Again(90 * S));
    }

    #[test]
    fn answers_about_a_batch_are_counted_and_nothing_else_is() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        for _ in 0..3 {
            assert!(matches!(patience().next(&mut trial, ANSWERED, now, 0.5), Next::Again(_)));
            patience().next(&mut trial, Failure::Unwell { after: None }, now, 0.5);
        }
        assert_eq!(patience().next(&mut trial, ANSWERED, now, 0.5), Next::Split(LetterReason::RetriesSpent));
        // In parts, one answer is enough; but what is refused is refused.
        let mut part = trial.of_part(LetterReason::RetriesSpent);
        assert_eq!(
            patience().next(&mut part, Failure::Refused, now, 0.5),
            Next::Split(LetterReason::Rejected)
        );
        assert_eq!(patience().next(&mut part, ANSWERED, now, 0.5), Next::Split(LetterReason::RetriesSpent));
        let mut other = trial.of_part(LetterReason::Rejected);
        assert!(matches!(patience().next(&mut other, ANSWERED, now, 0.5), Next::Again(_)));
    }

    #[test]
    fn max_retries_is_the_one_that_was_set() {
        let now = Instant::now();
        for (max_retries, expected) in [(Some(0), 1), (Some(1), 2), (Some(7), 8), (None, 100)] {
            let patience = Patience { max_retries, ..patience() };
            let mut trial = Trial::default();
            let is_again = |_: &i32| matches!(patience.next(&mut trial, ANSWERED, now, 0.5), Next::Again(_));
            let attempts = (1..100).take_while(is_again).count() + 1;
            assert_eq!(attempts, expected, "{max_retries:?}");
        }
    }

    #[test]
    fn one_who_is_kept_out_tries_slowly_and_gives_up_after_the_grace() {
        let (mut trial, t0) = (Trial::default(), Instant::now());
        let denied = Failure::Denied { since: t0 };
        assert_eq!(patience().next(&mut trial, denied, t0, 0.5), Next::Again(60 * S));
        assert_eq!(patience().next(&mut trial, denied, t0 + 3599 * S, 0.5), Next::Again(60 * S));
        let end = t0 + 3600 * S;
        assert_eq!(patience().next(&mut trial, denied, end, 0.5), Next::GiveUp(LetterReason::Denied));
        // The next batch does not wait for another hour, if the sink let nobody in meanwhile.
        assert_eq!(
            patience().next(&mut Trial::default(), denied, end, 0.5),
            Next::GiveUp(LetterReason::Denied)
        );
        let fresh = Failure::Denied { since: end };
        assert_eq!(patience().next(&mut Trial::default(), fresh, end, 0.5), Next::Again(60 * S));
    }

    #[test]
    fn a_panic_is_tried_once_more_and_then_looked_for() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        assert_eq!(patience().next(&mut trial, Failure::Panicked, now, 0.5), Next::Again(S));
        assert_eq!(
            patience().next(&mut trial, Failure::Panicked, now, 0.5),
            Next::Split(LetterReason::Panic)
        );
        let mut part = trial.of_part(LetterReason::Panic);
        assert_eq!(patience().next(&mut part, Failure::Panicked, now, 0.5), Next::Split(LetterReason::Panic));
    }
}
