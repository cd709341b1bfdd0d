//! Failures: whether the size of batches is what they come from.
//!
//! A failure halves the size, as does each that follows without a success in between. Then the size stays for a few
//! answers. If the sink takes one of those and fails another, size is not the reason: it goes back to what it was, and for
//! a while failures are only counted. Halving alone collapses: at every fifth request failed, one halving outweighs the
//! four steps up in between.

/// Good answers that prove a smaller size.
const TRIAL: u32 = 8;
/// Answers, after a smaller size made no difference, in which failures change nothing.
const CALM: u32 = 64;
/// So many failures in a row are believed whatever was seen before.
const ROW: u32 = 4;

/// What is known of failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setback {
    /// Goes up when batches become smaller: what was cut before that says nothing of the smaller ones. Sizes do not tell,
    /// because a run is not split for a few entries.
    pub(super) epoch: u32,
    /// The size before it was made smaller, and how many answers were good since.
    from: Option<(f64, u32)>,
    /// Failures since the last success.
    row: u32,
    /// Answers for which failures do not make batches smaller.
    calm: u32,
}

impl Setback {
    /// A batch that was cut in `epoch` was taken.
    pub(super) fn took(&mut self, epoch: u32) {
        self.row = 0;
        self.calm = self.calm.saturating_sub(1);
        if epoch == self.epoch {
            self.from = self.from.map(|(from, good)| (from, good + 1)).filter(|(_, good)| *good < TRIAL);
        }
    }

    /// Whether the size is to stay, to see whether a smaller one makes a difference.
    pub(super) fn is_trial(&self) -> bool {
        self.from.is_some()
    }

    /// An attempt at a batch that was cut in `epoch` failed while batches are to have `want`: how many they are to have now.
    pub(super) fn failed(&mut self, epoch: u32, want: f64) -> f64 {
        self.row += 1;
        if self.calm > 0 && self.row < ROW {
            self.calm -= 1;
            return want;
        }
        self.calm = 0;
        match self.from {
            Some(_) if epoch != self.epoch => return want,
            Some((from, good)) if good > 0 => {
                (self.from, self.calm) = (None, CALM);
                return from;
            }
            Some(_) => {}
            None => self.from = Some((want, 0)),
        }
        self.epoch = self.epoch.wrapping_add(1);
        want / 2.0
    }
}
