//! Which threads a config comes to, kind by kind: what `check` prints, and what the quotas count before any is started.

use super::Config;
use super::decide::Cores;
use crate::sinks::config::SinkKind;
use crate::sources::config::SourceKind;
use crate::sources::http::config::decoders;
use crate::steps::config::StepConfig;

/// Threads of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What they are for, in words.
    pub kind: String,
    /// What they are called; of several, `N` stands for the number.
    pub name: String,
    /// How many there are at most.
    pub count: usize,
    /// The cores they are bound to; empty: any.
    pub cores: Vec<usize>,
    /// Each is bound to one core of these, in turn; otherwise to all of them.
    pub one_each: bool,
}

/// How many threads a reload may need for a moment: what sees off a source or a sink that is taken out.
const HELPERS: usize = 2;

/// All threads of `config`, from those that are always there to those of its sinks.
pub fn planned(config: &Config) -> Vec<Planned> {
    let mut all = Vec::new();
    let Cores { intake, readers, senders, .. } = &config.decided.cores;
    let mut add = |kind: &str, name: String, count: usize, cores: &[usize], one_each: bool| {
        if count > 0 {
            all.push(Planned { kind: kind.into(), name, count, cores: cores.to_vec(), one_each });
        }
    };
    add("main and signals", "ringmain".into(), 2, &[], false);
    add("keeper", "keeper".into(), 1, &[], false);
    add("admin", "admin".into(), usize::from(config.admin.listen.is_some()), &[], false);
    let has_steps = config
        .sources
        .iter()
        .any(|source| source.pipeline.is_some() || matches!(source.kind, SourceKind::Syslog(_)));
    let dedupes = |step: &StepConfig| matches!(step, StepConfig::Dedupe(_));
    let repeats = config.pipelines.iter().any(|pipeline| pipeline.steps.iter().any(dedupes));
    add("what `dedupe` counted", "repeats".into(), usize::from(repeats), &[], false);
    let letters = usize::from(config.dispatcher.dlq.enabled);
    add("dead letters", "letters".into(), letters, &[], false);
    add("dead letters of steps", "send-dlq-0".into(), letters * usize::from(has_steps), senders, false);
    add(
        "intake",
        "intake".into(),
        usize::from(config.sources.iter().any(|source| listens(&source.kind))),
        intake,
        false,
    );
    for source in &config.sources {
        let name = &source.name;
        match &source.kind {
            SourceKind::Http(http) => {
                let count = decoders(&http.decoders);
                add(&format!("decoders of {name}"), format!("decode-{name}-N"), count, readers, false);
            }
            SourceKind::Loki(loki) => {
                let count = decoders(&loki.decoders);
                add(&format!("decoders of {name}"), format!("decode-{name}-N"), count, readers, false);
            }
            kind if listens(kind) => {}
            _ => add(&format!("reader of {name}"), format!("reader-{name}"), 1, readers, false),
        }
    }
    for (at, pool) in config.decided.pools.iter().enumerate() {
        let (kind, name) = match at {
            0 => ("workers".to_owned(), "worker-N".to_owned()),
            _ => (format!("workers of {}", pool.name), format!("worker-{}-N", pool.name)),
        };
        add(&kind, name, pool.max, &pool.cores, true);
    }
    for sink in config.enabled_sinks() {
        let name = &sink.name;
        add(
            &format!("senders of {name}"),
            format!("send-{name}-N"),
            sink.lane.concurrency.most(),
            senders,
            false,
        );
        if config.has_buffer(sink) {
            add(&format!("buffer of {name}"), format!("buffer-{name}"), 1, senders, false);
            add(&format!("buffer of {name}, read"), format!("read-{name}"), 1, senders, false);
        }
        if matches!(&sink.kind, SinkKind::File(file) if file.rotate.is_some()) {
            add(&format!("upkeep of {name}"), format!("keep-{name}"), 1, &[], false);
        }
    }
    add("for a moment at a reload", "end-NAME".into(), HELPERS, &[], false);
    all
}

/// Whether the source's sockets are the intake's.
pub fn listens(kind: &SourceKind) -> bool {
    use SourceKind::{Http, Loki, Socket, Syslog};
    matches!(kind, Syslog(_) | Socket(_) | Http(_) | Loki(_))
}

/// How many threads these are in all.
pub fn count(planned: &[Planned]) -> usize {
    planned.iter().map(|one| one.count).sum()
}

/// A table of them, a line each, for people.
pub fn table(planned: &[Planned]) -> String {
    let line = |one: &Planned| format!("  {:<42} {}\n", one.kind, one.count);
    planned.iter().map(line).collect()
}
