//! The unit that crosses threads: text, an index of its entries, and what steps made of them.
