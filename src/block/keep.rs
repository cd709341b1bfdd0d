//! Entries that are given up before anyone worked on them.

use super::Block;

impl Block {
    /// Gives up all but the first entries of each run, as many as `keep` says for it. Their text stays where it is.
    pub fn keep_of_runs(&mut self, keep: &[u32]) {
        let mut to = 0;
        // Where each run began, how many are left of it, and where they begin now.
        let mut moved: Vec<(u32, u32, u32)> = Vec::with_capacity(keep.len());
        for (run, keep) in self.runs.iter_mut().zip(keep) {
            let kept = (*keep).min(run.end - run.first);
            self.entries.copy_within(run.first as usize..(run.first + kept) as usize, to as usize);
            moved.push((run.first, kept, to));
            (run.first, run.end) = (to, to + kept);
            to += kept;
        }
        self.entries.truncate(to as usize);
        self.runs.retain(|run| run.first < run.end);
        self.given.keep(|entry| {
            let run = moved.partition_point(|(first, ..)| *first <= entry).checked_sub(1)?;
            let (first, kept, now) = *moved.get(run)?;
            (entry < first + kept).then(|| now + entry - first)
        });
    }
}
