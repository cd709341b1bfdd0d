//! The door every source has: memory, credits, gate, tickets, the ring.
