//! A word that many wait for: go, or go home.

use parking_lot::{Condvar, Mutex};

/// Said once.
#[derive(Default)]
pub(super) struct Go {
    said: Mutex<Option<bool>>,
    heard: Condvar,
}

impl Go {
    /// Says it; only the first time counts.
    pub fn say(&self, go: bool) {
        self.said.lock().get_or_insert(go);
        self.heard.notify_all();
    }

    /// Waits until it is said, and gives it.
    pub fn wait(&self) -> bool {
        let mut said = self.said.lock();
        loop {
            match *said {
                Some(go) => return go,
                None => self.heard.wait(&mut said),
            }
        }
    }
}
