//! Wall-clock and monotonic time, read once per block.
