//! Placeholder.
/// C
pub struct ConsoleSink;
impl ConsoleSink { /// n
 pub fn new(_f: super::format::Format) -> Self { ConsoleSink } }
impl super::Sink for ConsoleSink { fn kind(&self) -> &'static str { "console" } fn send(&self, _b: &crate::batch::Batch) -> Result<(), super::SendError> { Ok(()) } }
