//! Opens the sinks of a config.

use super::StartError;
use crate::config::SinkConfig;
use crate::pool::Allowance;
use crate::sinks::Sink;
use crate::sinks::blackhole::Blackhole;
use crate::sinks::config::SinkKind;
use crate::sinks::console::Console;
use crate::sinks::file::{FileSink, FileSinkSettings};
use crate::sinks::http::HttpSink;
use crate::sinks::loki::LokiSink;
use std::sync::Arc;

/// Opens the sink's destination; `open` is how many descriptors its files may take.
pub(super) fn open_sink(sink: &SinkConfig, open: Allowance) -> Result<Arc<dyn Sink>, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::start(format!("sink {}", sink.name), error);
    let opened: Arc<dyn Sink> = match &sink.kind {
        SinkKind::File(file) => {
            let settings = FileSinkSettings::of(file, open).map_err(|error| failed(&error))?;
            let opened = FileSink::new(settings);
            Arc::new(opened.map_err(|error| failed(&error))?)
        }
        SinkKind::Loki(loki) => {
            let opened = LokiSink::new(&sink.name, (**loki).clone(), sink.lane.concurrency.most());
            Arc::new(opened.map_err(|error| failed(&error))?)
        }
        SinkKind::Http(http) => {
            let opened = HttpSink::new((**http).clone(), sink.lane.concurrency.most());
            Arc::new(opened.map_err(|error| failed(&error))?)
        }
        SinkKind::Console(console) => Arc::new(Console::new(console.format)),
        SinkKind::Blackhole(_) => Arc::new(Blackhole),
        SinkKind::Custom(custom) => Arc::clone(&custom.0),
    };
    opened.start().map_err(|error| StartError::start(format!("sink {}", sink.name), error))?;
    Ok(opened)
}

/// The sink in one line, for people.
pub(super) fn describe_sink(sink: &SinkConfig) -> String {
    let place = match &sink.kind {
        SinkKind::File(file) => file.path.clone(),
        SinkKind::Loki(loki) => loki.url.to_string(),
        SinkKind::Http(http) => http.url.to_string(),
        SinkKind::Console(_) => "standard output".into(),
        SinkKind::Blackhole(_) => "counted and forgotten".into(),
        SinkKind::Custom(_) => "of the program".into(),
    };
    let when = sink.when.as_ref().map_or(String::new(), |when| format!(", when {when}"));
    format!("sink {} ({}): {place}{when}", sink.name, sink.kind.name())
}
