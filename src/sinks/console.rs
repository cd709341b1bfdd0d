//! Entries written to standard output.
