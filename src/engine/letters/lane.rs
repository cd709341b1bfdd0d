//! The lane for what steps give up: a lane like others, whose sink takes nothing.

use crate::config::keys::DispatcherConfig;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::delivery::dlq::given_up::GivenUp;
use crate::delivery::dlq::store::NAME;
use crate::delivery::letters::DeadLetters;
use crate::engine::StartError;
use crate::engine::live::{Core, LiveSink};
use crate::engine::reload::Stage;
use crate::lane::{FIRST_CREW, Quota};
use crate::sinks::Sink;
use crate::sinks::config::{SinkKeys, SinkKind};
use crate::sinks::custom::CustomSink;
use crate::sources::config::SourceKind;
use std::sync::Arc;

impl Core {
    /// Where refused entries are kept, unless the config wants none.
    pub fn keeps(&self) -> Option<Arc<dyn DeadLetters>> {
        self.desk.as_ref().map(|desk| Arc::clone(&desk.store) as Arc<dyn DeadLetters>)
    }
}

/// Whether steps may give something up, and that is kept.
pub fn wants_letters(core: &Core, config: &Config) -> bool {
    core.desk.is_some() && has_steps(config)
}

/// Whether any source has steps.
pub fn has_steps(config: &Config) -> bool {
    let has_steps =
        |source: &SourceConfig| source.pipeline.is_some() || matches!(source.kind, SourceKind::Syslog(_));
    config.sources.iter().any(has_steps)
}

impl Stage<'_> {
    /// Makes the lane, once there are steps; it stays until the end.
    pub fn make_letters(&mut self, quota: Quota) -> Result<(), StartError> {
        self.letters = self.live.letters.clone();
        if self.letters.is_some() || !wants_letters(self.core, self.config) {
            return Ok(());
        }
        let config = as_config();
        let row = self.sink_row(&config);
        let lane = self.new_lane(row, &config, quota);
        self.lanes.push(Arc::clone(&lane));
        let circuit = self.circuit(row, &config);
        let sink: Arc<dyn Sink> = Arc::new(GivenUp);
        let (crew, senders) = (FIRST_CREW, Arc::default());
        let made = LiveSink { config, row, circuit, lane, sink, crew, senders, upkeep: None, disk: None };
        self.view_sink(row, made.view("dead letters: what steps give up".into()));
        self.man(made, None)?;
        self.letters = self.sinks.pop();
        Ok(())
    }
}

/// The lane as if a config had it among its sinks.
fn as_config() -> SinkConfig {
    let kind = SinkKind::Custom(CustomSink(Arc::new(GivenUp)));
    SinkConfig {
        name: NAME.into(),
        enabled: true,
        when: None,
        lane: crate::config::lane(&DispatcherConfig::default(), &SinkKeys::default(), &kind),
        kind,
    }
}
