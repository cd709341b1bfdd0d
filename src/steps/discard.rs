//! Takes entries out by a condition.
