//! Lines from standard input.
