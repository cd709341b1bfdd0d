//! Durations and sizes as users write them.
