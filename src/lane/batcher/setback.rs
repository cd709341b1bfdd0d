//! Failures: whether the size of batches is what they come from.
//!
//! A failure halves the size, as does each that follows without a success in between. Then the size stays for a few
//! answers. If the sink takes one of those and fails another, size is not the reason: it goes back to what it was, and for
//! a while failures are only counted. Halving alone collapses: at every fifth request failed, one halving outweighs the four steps up in between.

/// Answers that a smaller size has to prove itself by, and answers that are believed after it did not.
const TRIAL: u32 = 8;
const CALM: u32 = 64;
/// So many failures in a row are believed whatever was seen before.
const ROW: u32 = 4;
/// A batch that is so much larger than batches are now was cut before they became smaller.
const OLD: f64 = 1.2;

/// What is known of failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setback {
    /// The size before it was made smaller, and how many answers were good since.
    from: Option<(f64, u32)>,
    /// Failures since the last success.
    row: u32,
    /// Answers for which failures do not make batches smaller.
    calm: u32,
}

impl Setback {
    /// A batch of `entries` was taken while batches are to have `want`.
    pub(super) fn took(&mut self, entries: usize, want: f64) {
        self.row = 0;
        self.calm = self.calm.saturating_sub(1);
        if entries as f64 <= want * OLD {
            self.from = self.from.map(|(from, good)| (from, good + 1)).filter(|(_, good)| *good < TRIAL);
        }
    }

    /// Whether the size is to stay, to see whether a smaller one makes a difference.
    pub(super) fn is_trial(&self) -> bool {
        self.from.is_some()
    }

    /// An attempt at a batch of `entries` failed while batches are to have `want`: how many they are to have now.
    pub(super) fn failed(&mut self, entries: usize, want: f64) -> f64 {
        self.row += 1;
        if self.calm > 0 && self.row < ROW {
            self.calm -= 1;
            return want;
        }
        self.calm = 0;
        match self.from {
            Some(_) if entries as f64 > want * OLD => want,
            Some((from, good)) if good > 0 => {
                (self.from, self.calm) = (None, CALM);
                from
            }
            Some(_) => want / 2.0,
            None => {
                self.from = Some((want, 0));
                want / 2.0
            }
        }
    }
}
