//! How many different files entries can make.
//!
//! Whoever can choose a part of a path (a label, a field, a forged address) could otherwise make millions of files and
//! use up the file system's inodes. A name takes a place when it is first written to and gives it back when nothing was
//! written to it for an hour, so that a flood of new names cannot drive out those in use.

use crate::clock::UnixNanos;
use std::collections::HashMap;
use std::sync::Arc;

/// Where entries go for which there is no place, beneath the base.
pub(super) const OVERFLOW: &str = "__overflow__";
/// How long a name that is not written to keeps its place.
const KEPT: i64 = 3_600_000_000_000;
/// How often it is looked which places are free again.
const LOOK_EVERY: i64 = KEPT / 60;

/// The names in use.
pub(super) struct Places {
    max: usize,
    /// When each was last written to.
    used: HashMap<Arc<str>, UnixNanos>,
    looked: UnixNanos,
    /// Someone was refused since there was last a free place.
    full: bool,
}

impl Places {
    /// Places for `max` names.
    pub(super) fn new(max: usize) -> Self {
        Places { max, used: HashMap::new(), looked: i64::MIN, full: false }
    }

    /// Whether `path` has a place, or takes one.
    pub(super) fn admit(&mut self, path: &Arc<str>, now: UnixNanos) -> bool {
        if let Some(used) = self.used.get_mut(path) {
            *used = now;
            return true;
        }
        // A clock set back must not stop us from looking.
        if self.used.len() >= self.max && now.abs_diff(self.looked) >= LOOK_EVERY.unsigned_abs() {
            self.looked = now;
            self.used.retain(|_, used| now.saturating_sub(*used) < KEPT);
        }
        let has_room = self.used.len() < self.max;
        if has_room {
            self.used.insert(Arc::clone(path), now);
        }
        if !has_room && !self.full {
            tracing::warn!(
                "{} different files were written to within an hour, which is max_files: entries for further ones, \
                 the first of them {path}, go to {OVERFLOW}",
                self.max
            );
        }
        self.full = !has_room;
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_finds_no_place_and_drives_nobody_out() {
        let mut places = Places::new(3);
        let mut admit = |name: &str, minute: i64| places.admit(&name.into(), minute * 60_000_000_000);
        assert!(admit("a", 0) && admit("b", 0) && admit("c", 0));
        assert!((0..1000).all(|n| !admit(&format!("evil{n}"), 1)));
        assert!(admit("a", 30) && admit("b", 59));
        assert!(admit("new", 60), "c was not written to for an hour");
        assert!(!admit("c", 60) && !admit("c", 89));
        assert!(admit("c", 90), "a was not");
        assert!(admit("b", 90) && admit("new", 90) && !admit("a", 90));
    }

    #[test]
    fn a_clock_set_back_frees_places_again_in_the_end() {
        let mut places = Places::new(1);
        assert!(places.admit(&"a".into(), 10 * KEPT) && !places.admit(&"b".into(), 0));
        assert!(
            !places.admit(&"b".into(), 10 * KEPT + LOOK_EVERY)
                && places.admit(&"b".into(), 11 * KEPT + LOOK_EVERY)
        );
    }
}
