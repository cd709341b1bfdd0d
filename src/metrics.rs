//! The metric names and the recorder behind `/metrics`.
