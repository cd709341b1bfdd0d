//! What became of every entry, per source and per sink.
