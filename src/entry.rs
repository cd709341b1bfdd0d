//! One log message inside a block, and the borrowed view steps and sinks get of it.
