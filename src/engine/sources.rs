//! Opens sources, one by one: ports are bound and readers made, nothing runs yet.

use super::build::window;
use super::descriptors::{Descriptors, key};
use super::inside::SourceView;
use super::intake::IntakeSlot;
use super::live::Wanted;
use super::{Runner, StartError};
use crate::checkpoint::Checkpoint;
use crate::config::SourceConfig;
use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sinks::config::SinkKind;
use crate::sinks::file::own_files;
use crate::sinks::template::Template;
use crate::sources::config::SourceKind;
use crate::sources::docker::config::DockerSourceConfig;
use crate::sources::docker::{DockerReader, DockerSettings};
use crate::sources::ending::Ending;
use crate::sources::file::config::FileSourceConfig;
use crate::sources::file::{FileReader, FileSettings};
use crate::sources::framing::{Frame, LineFramer};
use crate::sources::http::config::decoders;
use crate::sources::inlet::{DomainId, Gate, InletSpec};
use crate::sources::loki::service::PUSH;
use crate::sources::multiline::Rules;
use crate::sources::multiline::config::MultilineConfig;
use crate::sources::multiline::framer::EventFramer;
use crate::sources::net::Intake;
use crate::sources::net::http::change as http;
use crate::sources::net::http::{HttpSettings, Service};
use crate::sources::net::incoming::{Framing, HEADROOM};
use crate::sources::net::listen::Listen;
use crate::sources::net::seats::Host;
use crate::sources::socket;
use crate::sources::socket::config::{SocketFraming, SocketSourceConfig};
use crate::sources::stdin::{StdinReader, StdinSettings};
use crate::sources::submit::{Shipper, Submitter};
use crate::sources::syslog;
use crate::thread::Latch;
use crate::worker::{Domain, Domains};
use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Opens one source.
pub(super) struct Opener<'a> {
    pub wanted: Wanted<'a>,
    pub checkpoint: &'a Arc<Checkpoint>,
    pub domains: &'a Domains,
    /// The one network thread.
    pub intake: &'a mut IntakeSlot,
    pub descriptors: &'a Descriptors,
    pub opened: Opened,
}

/// A source that is open and waits to begin.
pub(super) struct Opened {
    pub ending: Arc<Ending>,
    /// Left by all its threads and members when they have ended.
    pub done: Arc<Latch>,
    /// One for each thread that produces its blocks.
    pub domains: Vec<DomainId>,
    /// Its threads.
    pub runners: Vec<Runner>,
    /// Its members on the intake thread.
    pub seats: Range<usize>,
    pub view: SourceView,
    /// Where the program hands its entries in.
    pub submitter: Option<Submitter>,
}

impl Opened {
    /// Nothing is open yet.
    pub fn new(gate: &Arc<Gate>) -> Self {
        Opened {
            ending: Arc::default(),
            done: Arc::default(),
            domains: Vec::new(),
            runners: Vec::new(),
            seats: 0..0,
            view: SourceView::new(gate),
            submitter: None,
        }
    }
}

impl Opener<'_> {
    /// Opens it: what came of that is in `opened`, also after an error.
    pub fn open(&mut self) -> Result<(), StartError> {
        let Wanted { source, id, .. } = self.wanted;
        let labels = Labels::new(source.labels.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let spec = self.domain();
        let ending = Arc::clone(&self.opened.ending);
        let failed = |error: io::Error| StartError::start(format!("source {}", source.name), error);
        match &source.kind {
            SourceKind::File(file) => {
                let mut settings = self.file_settings(file, id, labels);
                settings.multiline = rules(file.multiline.as_ref(), file.max_line, &source.name)?;
                self.opened.view.what = format!("reads {}", file.include.join(", "));
                let reader = FileReader::new(settings, spec, ending, Arc::clone(self.checkpoint));
                let reader = reader.map_err(failed)?;
                self.opened.view.files = Some(reader.files());
                self.add_reader(move |row| reader.run(row));
            }
            SourceKind::Docker(docker) => {
                let multiline = rules(docker.multiline.as_ref(), docker.max_line, &source.name)?;
                let open = self.allowance();
                let settings = docker_settings(docker, (id, &spec.source.name), open, multiline, labels);
                self.opened.view.what = format!("reads containers of {}", docker.socket.display());
                let reader = DockerReader::new(docker, settings, spec, ending, Arc::clone(self.checkpoint));
                let reader = reader.map_err(failed)?;
                self.opened.view.containers = Some(reader.containers());
                self.add_reader(move |row| reader.run(row));
            }
            SourceKind::Stdin(stdin) => {
                self.opened.view.what = "reads standard input".into();
                let multiline = rules(stdin.multiline.as_ref(), stdin.max_line, &source.name)?;
                let settings = StdinSettings { source: id, max_line: stdin.max_line, multiline, labels };
                let reader = StdinReader::new(settings, spec, ending).map_err(failed)?;
                self.add_reader(move |row| reader.run(row));
            }
            SourceKind::Http(http) => {
                let mut settings = http.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let bound = self.open_requests(spec, settings, Arc::new(http.service()))?;
                self.listens(&bound);
            }
            SourceKind::Loki(loki) => {
                let mut settings = loki.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let bound = self.open_requests(spec, settings, Arc::new(loki.service()))?;
                self.listens(&bound);
            }
            SourceKind::Syslog(syslog) => {
                // Errors name the source and the address themselves.
                let mut settings = syslog.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let bound = self.on_intake(move |intake| intake.add_syslog(settings, spec));
                let bound = bound.map_err(|error| StartError::Start(error.to_string()))?;
                self.listens(&bound);
            }
            SourceKind::Socket(socket) => {
                let mut settings = socket.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let framing = socket.framing;
                let multiline = socket_rules(socket, &source.name)?;
                let bound =
                    self.on_intake(move |intake| intake.add_socket(framing, multiline, settings, spec));
                let bound = bound.map_err(|error| StartError::Start(error.to_string()))?;
                self.listens(&bound);
            }
            SourceKind::Submit(_) => {
                self.opened.view.what = "takes what the program submits".into();
                let shipper = Shipper::new(spec, ending, id, labels);
                self.opened.submitter = Some(shipper.submitter());
                self.add_reader(move |row| shipper.run(row));
            }
        }
        Ok(())
    }

    /// Makes a running source ready to go on as it is wanted now. False: its type cannot, it has to end and begin again.
    pub fn prepare(&mut self, seats: &Range<usize>) -> Result<bool, StartError> {
        let Wanted { source, id, .. } = self.wanted;
        let labels = Labels::new(source.labels.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let change: Box<dyn Any + Send> = match &source.kind {
            SourceKind::Syslog(syslog) => {
                let mut settings = syslog.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                Box::new(syslog::source::change(settings, source.strategy))
            }
            SourceKind::Socket(socket) => {
                let mut settings = socket.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let multiline = socket_rules(socket, &source.name)?;
                socket::source::change(socket.framing, multiline, settings, source.strategy)
            }
            SourceKind::Http(http) => {
                let mut settings = http.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let (service, strategy) = (Arc::new(http.service()), source.strategy);
                Box::new(http::Change { settings, service, strategy })
            }
            SourceKind::Loki(loki) => {
                let mut settings = loki.settings(&source.name, id, labels).map_err(StartError::Start)?;
                settings.open = self.allowance();
                let (service, strategy) = (Arc::new(loki.service()), source.strategy);
                Box::new(http::Change { settings, service, strategy })
            }
            SourceKind::File(_) | SourceKind::Docker(_) | SourceKind::Stdin(_) | SourceKind::Submit(_) => {
                return Ok(false);
            }
        };
        let number = seats.start;
        let prepared = self.intake.run(move |intake| intake.prepare(number, change));
        let refused = |error: io::Error| StartError::Start(error.to_string());
        let Some(bound) = prepared.map_err(refused)? else { return Ok(false) };
        self.listens(&bound.map_err(refused)?);
        Ok(true)
    }

    /// How many files or connections it may have open.
    fn allowance(&self) -> Allowance {
        self.descriptors.allowance(&key(true, &self.wanted.source.name))
    }

    /// A further domain of the source: one for each thread that produces its blocks.
    fn domain(&mut self) -> InletSpec {
        let Wanted { named, source, plan, gate, assigned, limits, config, .. } = self.wanted;
        let (source, strategy) = (named.clone(), source.strategy);
        let domain = Domain::new(source.clone(), window(config), Arc::clone(plan));
        let drained = Arc::clone(&domain.drained);
        let domain = self.domains.add(domain);
        self.opened.domains.push(domain);
        let (gate, assigned) = (Arc::clone(gate), Arc::clone(assigned));
        InletSpec { domain, source, strategy, gate, assigned, drained, limits: limits.clone() }
    }

    /// Opens members on the intake thread: by that thread itself, if it runs already.
    fn on_intake<T: Send + 'static>(
        &mut self,
        open: impl FnOnce(&mut Intake) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (ending, done) = (Arc::clone(&self.opened.ending), Some(Arc::clone(&self.opened.done)));
        let host = Host { ending, done, waits: true };
        let (seats, opened) = self.intake.run(move |intake| {
            let first = intake.host(host);
            let opened = open(intake);
            (first..intake.next_number(), opened)
        })?;
        self.opened.seats = seats;
        opened
    }

    /// Opens a source of requests with its decode threads, each of which is a domain. Says where it listens.
    fn open_requests(
        &mut self,
        first: InletSpec,
        settings: HttpSettings,
        service: Arc<dyn Service>,
    ) -> Result<Vec<Listen>, StartError> {
        let mut specs = vec![first];
        specs.extend((1..settings.decoders).map(|_| self.domain()));
        let ending = Arc::clone(&self.opened.ending);
        let opened = self.on_intake(move |intake| intake.add_http(settings, service, specs, &ending));
        // The error names the source and the address itself.
        let (decoders, bound) = opened.map_err(|error| StartError::Start(error.to_string()))?;
        for (number, decoder) in decoders.into_iter().enumerate() {
            self.opened.runners.push(Runner {
                name: format!("decode-{}-{number}", self.wanted.source.name),
                cores: self.wanted.config.decided.cores.readers.clone(),
                body: Box::new(move |row| decoder.run(row)),
            });
        }
        Ok(bound)
    }

    /// Shows where it listens, in the words of whoever is to send there.
    fn listens(&mut self, bound: &[Listen]) {
        let path = match &self.wanted.source.kind {
            SourceKind::Http(http) => Some(http.paths.0.first().map_or("/", |(path, _)| path)),
            SourceKind::Loki(_) => Some(PUSH),
            _ => None,
        };
        let told = |listen: &Listen| path.map_or_else(|| listen.to_string(), |path| listen.as_url(path));
        let listening: Vec<String> = bound.iter().map(told).collect();
        let view = &mut self.opened.view;
        view.what = format!("listens on {}", listening.join(", "));
        view.listening = listening;
    }

    fn add_reader(&mut self, body: impl FnOnce(&crate::thread::Row) + Send + 'static) {
        self.opened.runners.push(Runner {
            name: format!("reader-{}", self.wanted.source.name),
            cores: self.wanted.config.decided.cores.readers.clone(),
            body: Box::new(body),
        });
    }

    fn file_settings(&self, config: &FileSourceConfig, source: SourceId, labels: Labels) -> FileSettings {
        // What file sources must not read: our own state, and what our file sinks write (also what they cut off).
        let templates = self.wanted.config.enabled_sinks().filter_map(|sink| match &sink.kind {
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
            format: config.format,
            open: self.allowance(),
            multiline: None,
            scratch: self.wanted.config.data_dir.clone(),
            never_read: vec![self.wanted.config.data_dir.clone()],
            never_match,
            labels,
        }
    }
}

fn docker_settings(
    config: &DockerSourceConfig,
    (source, name): (SourceId, &Arc<str>),
    open: Allowance,
    multiline: Option<Arc<Rules>>,
    labels: Labels,
) -> DockerSettings {
    DockerSettings {
        source,
        name: Arc::clone(name),
        socket: config.socket.clone(),
        read_from: config.read_from,
        max_line: config.max_line,
        multiline,
        rescan: config.rescan,
        timeout: config.timeout,
        connections: config.connections,
        partial_memory: config.partial_memory,
        open,
        labels,
    }
}

/// The longest entry of the source and what stands around it: a block must hold as much.
pub(super) fn longest_entry(source: &SourceConfig) -> usize {
    HEADROOM
        + match &source.kind {
            SourceKind::File(file) => longest_event(file.multiline.as_ref(), file.max_line),
            SourceKind::Docker(docker) => longest_event(docker.multiline.as_ref(), docker.max_line),
            SourceKind::Http(http) => http.max_entry,
            SourceKind::Loki(loki) => loki.max_entry,
            SourceKind::Stdin(stdin) => longest_event(stdin.multiline.as_ref(), stdin.max_line),
            SourceKind::Socket(socket) => longest_event(socket.multiline.as_ref(), socket.max_message),
            SourceKind::Syslog(syslog) => syslog.max_message,
            // As long as blocks are.
            SourceKind::Submit(_) => 0,
        }
}

/// How many threads make blocks of the source.
pub(super) fn producers(source: &SourceConfig) -> usize {
    match &source.kind {
        SourceKind::Http(http) => decoders(&http.decoders),
        SourceKind::Loki(loki) => decoders(&loki.decoders),
        _ => 1,
    }
}

fn longest_event(multiline: Option<&MultilineConfig>, max_line: usize) -> usize {
    multiline.map_or(max_line, |multiline| multiline.longest(max_line))
}

/// The entries that the source would find in `input`, as lines and events of several lines, each with whether it was cut.
pub(super) fn framing_of(source: &SourceConfig, input: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, StartError> {
    let (rules, max_line, strip_cr) = match &source.kind {
        SourceKind::File(file) => {
            (rules(file.multiline.as_ref(), file.max_line, &source.name)?, file.max_line, false)
        }
        SourceKind::Docker(docker) => {
            (rules(docker.multiline.as_ref(), docker.max_line, &source.name)?, docker.max_line, false)
        }
        SourceKind::Stdin(stdin) => {
            (rules(stdin.multiline.as_ref(), stdin.max_line, &source.name)?, stdin.max_line, false)
        }
        SourceKind::Socket(socket) => (socket_rules(socket, &source.name)?, socket.max_message, true),
        SourceKind::Syslog(syslog) => (None, syslog.max_message, true),
        SourceKind::Http(http) => (None, http.max_entry, true),
        SourceKind::Loki(loki) => (None, loki.max_entry, true),
        SourceKind::Submit(_) => (None, crate::block::ORDINARY, false),
    };
    let lines = LineFramer::new(max_line);
    Ok(match rules.map(|rules| EventFramer::new(rules, max_line)) {
        None if strip_cr => frames(lines.strip_cr(), input),
        None => frames(lines, input),
        Some(events) if strip_cr => frames(events.strip_cr(), input),
        Some(events) => frames(events, input),
    })
}

/// All frames of a stream that is `input` and no more, but for empty ones.
fn frames(mut framing: impl Framing, input: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let (mut found, mut at) = (Vec::new(), 0);
    let mut add = |frame: Frame, of: &[u8]| found.push((frame.of(of).to_vec(), frame.truncated));
    while let Ok(Some(frame)) = framing.next_frame(input, &mut at) {
        add(frame, input);
    }
    let mut rest = &input[at..];
    let mut begun = 0;
    if let Some(frame) = framing.end_before_rest(rest, &mut begun) {
        add(frame, rest);
    }
    rest = &rest[begun..];
    if let Some(frame) = framing.last_frame(rest) {
        add(frame, rest);
    }
    found.retain(|(text, _)| !text.is_empty());
    found
}

/// The rules of the socket source called `name`.
fn socket_rules(socket: &SocketSourceConfig, name: &str) -> Result<Option<Arc<Rules>>, StartError> {
    let multiline = rules(socket.multiline.as_ref(), socket.max_message, name)?;
    if multiline.is_some() && socket.framing != SocketFraming::Newline {
        let why = format!("source {name}: `multiline` joins lines, so it needs `framing: newline`");
        return Err(StartError::Config(why));
    }
    Ok(multiline)
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
