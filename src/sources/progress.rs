//! How much of what can be read again is safe: stretches go out in order, come back in any, and the safe place follows the
//! first that is not back yet.

use std::collections::VecDeque;
use std::time::Instant;

struct Stretch<P> {
    end: P,
    done: bool,
    read: Instant,
}

/// The stretches of one origin that are on their way. `P` is a place in it that reading could begin again from.
pub struct Progress<P> {
    safe: P,
    stretches: VecDeque<Stretch<P>>,
    /// The number of the first of them.
    first: u32,
}

impl<P: Clone + PartialEq> Progress<P> {
    /// Everything before `safe` is done with.
    pub fn new(safe: P) -> Progress<P> {
        Progress { safe, stretches: VecDeque::new(), first: 0 }
    }

    /// The place before which everything is safe.
    pub fn safe(&self) -> P {
        self.safe.clone()
    }

    /// Notes that everything up to `end` goes out now, read at `now`; the number it will come back as is the result.
    pub fn add(&mut self, end: P, now: Instant) -> u32 {
        self.stretches.push_back(Stretch { end, done: false, read: now });
        self.first.wrapping_add(self.stretches.len() as u32 - 1)
    }

    /// The last stretch, which has not left yet, reaches to `end`.
    pub fn extend(&mut self, end: P) {
        if let Some(last) = self.stretches.back_mut() {
            last.end = end;
        }
    }

    /// Everything up to `end` is passed over: there is no entry in it.
    pub fn pass(&mut self, end: P, now: Instant) {
        match self.stretches.back_mut() {
            None => self.safe = end,
            Some(last) if last.done => last.end = end,
            Some(_) => self.stretches.push_back(Stretch { end, done: true, read: now }),
        }
    }

    /// The stretch `number` is back. Whether the safe place moved is the result.
    pub fn settle(&mut self, number: u32) -> bool {
        let place = number.wrapping_sub(self.first) as usize;
        if let Some(stretch) = self.stretches.get_mut(place) {
            stretch.done = true;
        }
        let before = self.safe.clone();
        while self.stretches.front().is_some_and(|stretch| stretch.done) {
            if let Some(stretch) = self.stretches.pop_front() {
                self.safe = stretch.end;
                self.first = self.first.wrapping_add(1);
            }
        }
        self.safe != before
    }

    /// Whether nothing is on its way.
    pub fn is_settled(&self) -> bool {
        self.stretches.is_empty()
    }

    /// When the oldest bytes on their way were read.
    pub fn oldest(&self) -> Option<Instant> {
        self.stretches.front().map(|stretch| stretch.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_place_is_the_end_of_the_done_prefix_whatever_the_order() {
        let now = Instant::now();
        let point = |offset: u64| offset;
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let mut progress = Progress::new(point(0));
            let (mut out, mut ends, mut done) = (Vec::new(), vec![], vec![]);
            for _ in 0..50 {
                let end = ends.last().map_or(0, |end: &u64| *end) + 10;
                if rng.bool() {
                    out.push((ends.len(), progress.add(point(end), now)));
                    done.push(false);
                } else {
                    progress.pass(point(end), now);
                    done.push(true);
                }
                ends.push(end);
                if !out.is_empty() && rng.bool() {
                    let (place, number) = out.swap_remove(rng.usize(..out.len()));
                    progress.settle(number);
                    done[place] = true;
                }
                let prefix = done.iter().take_while(|done| **done).count();
                let want = if prefix == 0 { 0 } else { ends[prefix - 1] };
                assert_eq!(progress.safe(), want);
                assert_eq!(progress.is_settled(), prefix == ends.len());
            }
        }
    }
}
