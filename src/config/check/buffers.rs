//! What of buffers on disk, and of what is promised because of them, does not fit together.

use super::Checker;
use crate::buffer::config::BufferConfig;
use crate::config::read::Written;
use crate::sources::config::{SourceKind, Strategy};
use crate::sources::net::http::Promise;
use crate::units::format_size;

impl Checker<'_> {
    /// That each buffer has room for a few segments.
    pub(super) fn buffers(&mut self, written: &Written) {
        let of_source = written.sources.iter().any(|(_, keys, _)| keys.strategy == Some(Strategy::Spill));
        let general = written.general.as_ref().map(|general| general.dispatcher.backpressure.in_force());
        let spills = of_source || general == Some(Strategy::Spill);
        let least = BufferConfig::SIZE_MIN;
        for (name, keys, _) in &written.sinks {
            let used = keys.buffer.is_on_disk() || spills;
            if used && keys.buffer.max_size < least {
                let size = format_size(keys.buffer.max_size as u64);
                let message = format!(
                    "`max_size` in `buffer` of sink `{name}` is {size}, too little for a few segments"
                );
                let label = format!("expected at least {}", format_size(least as u64));
                self.problem(&["sinks", name, "buffer", "max_size"], message, label);
            }
        }
    }

    /// That every source of requests promises what can be kept.
    pub(super) fn promises(&mut self, written: &Written) {
        let mut enabled = written.sinks.iter().filter(|(_, keys, _)| keys.enabled);
        let on_disk = enabled.find(|(_, keys, _)| keys.buffer.is_on_disk()).map(|(name, ..)| name);
        for (name, _, kind) in &written.sources {
            let promise = match kind {
                SourceKind::Http(http) => http.ack,
                SourceKind::Loki(loki) => loki.ack,
                _ => None,
            };
            let place = ["sources", name, "ack"];
            match (promise, on_disk) {
                (Some(Promise::Delivered), Some(sink)) => {
                    let message = format!(
                        "source `{name}` cannot wait for delivery: sink `{sink}` has a buffer on disk"
                    );
                    self.problem(&place, message, "expected `persisted`, which is the default then");
                }
                (Some(Promise::Persisted), None) => {
                    let message =
                        format!("source `{name}` cannot wait for a disk: no sink has a buffer there");
                    let label = "expected `delivered`, `accepted`, or a sink with `buffer: { type: disk }`";
                    self.problem(&place, message, label);
                }
                _ => {}
            }
        }
    }
}
