//! Placeholder.
use metrics::Histogram;
/// W
#[derive(Clone)]
pub struct WorkerTelemetry {
    /// q
    pub queue_wait: Histogram,
    /// p
    pub processing: Histogram,
    /// t
    pub task: Histogram,
}
/// S
#[derive(Clone)]
pub struct SinkTelemetry {
    /// d
    pub delivery: Histogram,
    /// b
    pub batch_entries: Histogram,
}
