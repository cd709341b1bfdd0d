//! Opens the sources of a config, one by one: ports are bound and readers made, nothing runs yet.

use super::inside::SourceView;
use super::{Runner, StartError};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, SinkConfig};
use crate::labels::{Labels, SourceId};
use crate::ledger::Ledger;
use crate::sequencer::Sequencer;
use crate::sinks::config::SinkKind;
use crate::sinks::file::own_files;
use crate::sinks::template::Template;
use crate::sources::config::SourceKind;
use crate::sources::ending::Ending;
use crate::sources::file::config::FileSourceConfig;
use crate::sources::file::{FileReader, FileSettings};
use crate::sources::inlet::{DomainId, Gate, Hallway, InletSpec};
use crate::sources::multiline::Rules;
use crate::sources::multiline::config::MultilineConfig;
use crate::sources::net::Intake;
use crate::sources::stdin::{StdinReader, StdinSettings};
use crate::sources::submit::{Shipper, Submitter};
use crate::worker::{Domain, Plan};
use std::sync::Arc;

/// Opens the sources one by one.
pub(super) struct Sources<'a> {
    pub config: &'a Config,
    pub sinks: &'a [&'a SinkConfig],
    pub hallway: &'a Arc<Hallway>,
    pub gates: &'a [Arc<Gate>],
    /// What each source's entries go through, and where they may go.
    pub plans: &'a [Arc<Plan>],
    /// How many blocks a sequencer lets run ahead.
    pub window: usize,
    /// All domains so far, by number.
    pub domains: Vec<Domain>,
    pub ledger: &'a Ledger,
    pub ending: &'a Arc<Ending>,
    pub checkpoint: Arc<Checkpoint>,
    /// The one network thread, if any source needs it.
    pub intake: Option<Intake>,
    pub runners: Vec<Runner>,
    pub views: Vec<SourceView>,
    /// Where the program hands entries in, if it does.
    pub submitter: Option<Submitter>,
}

/// All sources, opened.
pub(super) struct Opened {
    pub runners: Vec<Runner>,
    pub views: Vec<SourceView>,
    /// By number.
    pub domains: Arc<[Domain]>,
    pub checkpoint: Arc<Checkpoint>,
    pub submitter: Option<Submitter>,
}

impl Sources<'_> {
    /// Opens the source at this place of the config.
    pub fn open(&mut self, at: usize) -> Result<(), StartError> {
        let source = &self.config.sources[at];
        let id = SourceId(at as u16);
        let labels = Labels::new(source.labels.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let spec = self.domain(at);
        let failed = |error: std::io::Error| StartError::start(format!("source {}", source.name), error);
        let mut view = SourceView {
            gate: Arc::clone(&self.gates[at]),
            listening: Vec::new(),
            files: None,
            what: String::new(),
        };
        match &source.kind {
            SourceKind::File(file) => {
                let mut settings = self.file_settings(file, id, labels);
                settings.multiline = rules(file.multiline.as_ref(), file.max_line, &source.name)?;
                view.what = format!("reads {}", file.include.join(", "));
                let reader =
                    FileReader::new(settings, spec, Arc::clone(self.ending), Arc::clone(&self.checkpoint));
                let reader = reader.map_err(failed)?;
                view.files = Some(reader.files());
                self.add_reader(&source.name, move |row| reader.run(row));
            }
            SourceKind::Stdin(stdin) => {
                view.what = "reads standard input".into();
                let multiline = rules(stdin.multiline.as_ref(), stdin.max_line, &source.name)?;
                let settings = StdinSettings { source: id, max_line: stdin.max_line, multiline, labels };
                let reader = StdinReader::new(settings, spec, Arc::clone(self.ending)).map_err(failed)?;
                self.add_reader(&source.name, move |row| reader.run(row));
            }
            SourceKind::Submit(_) => {
                view.what = "takes what the program submits".into();
                let shipper = Shipper::new(spec, Arc::clone(self.ending), id, labels);
                self.submitter = Some(shipper.submitter());
                self.add_reader(&source.name, move |row| shipper.run(row));
            }
            SourceKind::Syslog(syslog) => {
                let intake = match &mut self.intake {
                    Some(intake) => intake,
                    None => self.intake.insert(Intake::new(Arc::clone(self.ending)).map_err(failed)?),
                };
                // Errors name the source and the address themselves.
                let settings = syslog.settings(&source.name, id, labels).map_err(StartError::Start)?;
                let bound = intake.add_syslog(settings, spec);
                let bound = bound.map_err(|error| StartError::Start(error.to_string()))?;
                view.listening = bound.iter().map(ToString::to_string).collect();
                view.what = format!("listens on {}", view.listening.join(", "));
            }
        }
        self.views.push(view);
        Ok(())
    }

    /// A new domain of the source at this place of the config: one for each thread that produces its blocks.
    fn domain(&mut self, at: usize) -> InletSpec {
        let (source, strategy) = (self.ledger.sources[at].clone(), self.config.sources[at].strategy);
        let domain = DomainId(self.domains.len() as u32);
        self.domains.push(Domain {
            source: source.clone(),
            strategy,
            sequencer: Sequencer::new(self.window),
            plan: Arc::clone(&self.plans[at]),
        });
        let (gate, hallway) = (Arc::clone(&self.gates[at]), Arc::clone(self.hallway));
        InletSpec { domain, source, strategy, gate, hallway }
    }

    fn add_reader(&mut self, source: &str, body: impl FnOnce(&crate::thread::Row) + Send + 'static) {
        let name = format!("reader-{source}");
        self.runners.push(Runner {
            name,
            cores: self.config.decided.cores.readers.clone(),
            body: Box::new(body),
        });
    }

    fn file_settings(&self, config: &FileSourceConfig, source: SourceId, labels: Labels) -> FileSettings {
        // What file sources must not read: our own state, and what our file sinks write (also what they cut off).
        let templates = self.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::File(file) => Template::compile(&file.path).ok(),
            _ => None,
        });
        let never_match = templates.flat_map(|path| own_files(&path)).collect();
        FileSettings {
            source,
            include: config.include.clone(),
            exclude: config.exclude.clone(),
            read_from: config.read_from,
            max_line: config.max_line,
            partial_timeout: config.partial_timeout,
            rescan: config.rescan,
            rotate_wait: config.rotate_wait,
            ignore_older: config.ignore_older,
            open_files: config.open_files,
            multiline: None,
            never_read: vec![self.config.data_dir.clone()],
            never_match,
            labels,
        }
    }

    /// Everything that was opened.
    pub fn finish(mut self) -> Opened {
        if let Some(intake) = self.intake.take() {
            let cores = self.config.decided.cores.intake.clone();
            self.runners.push(Runner {
                name: "intake".into(),
                cores,
                body: Box::new(move |row| intake.run(row)),
            });
        }
        let Sources { runners, views, domains, checkpoint, submitter, .. } = self;
        Opened { runners, views, domains: domains.into(), checkpoint, submitter }
    }
}

/// The rules of the source called `name`, whose lines have up to `max_line` bytes.
fn rules(
    config: Option<&MultilineConfig>,
    max_line: usize,
    name: &str,
) -> Result<Option<Arc<Rules>>, StartError> {
    let rules = config.map(|config| config.rules(max_line)).transpose();
    let rules = rules.map_err(|error| StartError::Config(format!("source {name}: multiline: {error}")))?;
    Ok(rules.map(Arc::new))
}
