//! The lock-free MPMC queue between sources and workers.

pub mod claim;
pub mod credits;
pub mod sync;
pub mod wait;
use parking_lot::Mutex;
use std::collections::VecDeque;
/// Placeholder, replaced by the ring branch.
pub struct Ring<T>(Mutex<VecDeque<T>>);
/// Full.
pub enum Refused<T> {
    /// Full.
    Full(T),
    /// Closed.
    Closed(T),
}
impl<T> Refused<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            Refused::Full(t) | Refused::Closed(t) => t,
        }
    }
}
impl<T> Ring<T> {
    /// New.
    pub fn new(_capacity: usize) -> Self {
        Ring(Mutex::new(VecDeque::new()))
    }
    /// Pop.
    pub fn pop(&self) -> Option<T> {
        self.0.lock().pop_front()
    }
    /// Push.
    pub fn push(&self, item: T) -> Result<(), Refused<T>> {
        self.0.lock().push_back(item);
        Ok(())
    }
}
