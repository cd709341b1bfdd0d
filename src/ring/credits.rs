//! Credits in entries and bytes: what the ring may hold.
