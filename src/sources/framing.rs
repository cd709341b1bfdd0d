//! Finding the entries in a stream of bytes.
