//! The atomics, cells and parkers the engine uses: std's, or loom's under its models.
