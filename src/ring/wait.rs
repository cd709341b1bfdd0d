//! Parking and waking of the ring's consumers.
