//! Placeholder, replaced by the ring branch.
use parking_lot::Mutex;
/// Credits.
pub struct Credits {
    limit: (usize, usize),
    used: Mutex<(usize, usize)>,
}
/// Not enough.
#[derive(Debug)]
pub struct Short;
impl Credits {
    /// Limits.
    pub fn new(entries: usize, bytes: usize) -> Self {
        Credits { limit: (entries, bytes), used: Mutex::new((0, 0)) }
    }
    /// Takes.
    pub fn take(&self, entries: usize, bytes: usize) -> Result<(), Short> {
        let mut used = self.used.lock();
        let sum = (used.0 + entries, used.1 + bytes);
        if *used != (0, 0) && (sum.0 > self.limit.0 || sum.1 > self.limit.1) {
            return Err(Short);
        }
        *used = sum;
        Ok(())
    }
    /// Gives.
    pub fn give(&self, entries: usize, bytes: usize) {
        let mut used = self.used.lock();
        used.0 -= entries;
        used.1 -= bytes;
    }
    /// Free.
    pub fn free_entries(&self) -> usize {
        self.limit.0.saturating_sub(self.used.lock().0)
    }
}
