//! Label sets and the streams that carry them.
