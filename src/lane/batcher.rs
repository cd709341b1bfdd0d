//! When to cut a batch, and how large.
