//! Builds the house from a config, starts its threads, and ends them.
