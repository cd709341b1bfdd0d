//! Paths made of what is known of an entry.
