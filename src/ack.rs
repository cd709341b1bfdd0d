//! The way back: one settlement per block, counted down by whoever finishes its entries.
