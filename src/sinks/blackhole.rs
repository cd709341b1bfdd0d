//! Counts and forgets, for measuring.
