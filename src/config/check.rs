//! What no single key can tell: names that must exist, limits that must fit each other, addresses taken twice.

mod buffers;
mod cases;
mod cores;
mod fallbacks;
mod languages;
mod metrics;
mod pools;
mod steps;

pub use languages::{TextCheck, TextChecks};
use std::collections::HashMap;
use std::ops::Range;

use super::decide::Host;
use super::keys::GeneralConfig;
use super::read::{Written, place, spot, subject, with_bare_steps};
use super::report::{Problem, did_you_mean};
use super::tree::{Body, Node};
use crate::delivery::dlq::{self, config::DlqConfig};
use crate::sinks::config::SinkKind;
use crate::sources::config::SourceKind;
use crate::sources::http::config::HttpSourceConfig;
use crate::sources::net::listen::{Claim, Listen};
use crate::steps::ordered::dedupe;

/// The most sinks at once: a block names its lanes in one word of 64 bits.
pub const SINKS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
const NAME_EXPECTED: &str = "expected 1 to 64 of the letters A-Z a-z 0-9 _ -";

/// Whether something can be called `name`.
fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(letters)
}

/// Looks at all sections together; what does not fit goes to `problems`.
pub fn check(
    root: &Node,
    written: &Written,
    host: &Host,
    languages: &TextChecks,
    problems: &mut Vec<Problem>,
) {
    Checker { root, problems }.pools(written);
    let plain = with_bare_steps(root);
    let mut checker = Checker { root: &plain, problems };
    checker.names();
    checker.pipelines();
    checker.addresses(written);
    checker.paths(written);
    checker.sinks(written);
    checker.buffers(written);
    checker.promises(written);
    checker.texts(written, languages);
    checker.cases(written);
    checker.metrics(written);
    if let Some(general) = &written.general {
        checker.limits(general);
        checker.retries(general, written);
        checker.cores(general, host);
    }
}

struct Checker<'a> {
    root: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    fn problem(
        &mut self,
        path: &[&str],
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> &mut Problem {
        let problem = Problem::at(self.span(path), message, label);
        self.problems.push(problem);
        // Pushed one line above.
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Where to point for the value at `path`; the start of the file for a value that was not written.
    fn span(&self, path: &[&str]) -> Range<usize> {
        let Some((last, before)) = path.split_last() else {
            return 0..0;
        };
        let around = self.root.find(before);
        match around.map(|around| (around, &around.body)) {
            Some((around, Body::Map(_))) => match around.entry(last) {
                Some((key, value)) if matches!(value.body, Body::Scalar { .. }) => spot(value, &key.span),
                Some((key, _)) => key.span.clone(),
                None => self.span(before),
            },
            _ => self.root.find(path).map_or_else(|| self.span(before), |node| node.span.clone()),
        }
    }

    /// The span of the key itself.
    fn key_span(&self, path: &[&str]) -> Range<usize> {
        let around = path.split_last().and_then(|(last, before)| self.root.find(before)?.entry(last));
        around.map_or(0..0, |(key, _)| key.span.clone())
    }

    fn names(&mut self) {
        let root = self.root;
        for shelf in ["sources", "pipelines", "sinks"] {
            for (key, _) in root.get(shelf).map_or(&[][..], |shelf| shelf.entries()) {
                if !is_name(&key.name) {
                    let message =
                        format!("`{}` cannot be the name of a {}", key.name, shelf.trim_end_matches('s'));
                    self.problems.push(Problem::at(key.span.clone(), message, NAME_EXPECTED));
                }
            }
        }
        for shelf in ["sources", "sinks"] {
            for (key, _) in root.get(shelf).map_or(&[][..], |shelf| shelf.entries()) {
                if key.name == dlq::store::NAME {
                    let message = format!("`{}` cannot be the name of one of the {shelf}", key.name);
                    let label = "that is what the dead letters are called";
                    self.problems.push(Problem::at(key.span.clone(), message, label));
                }
            }
        }
        for (key, source) in root.get("sources").map_or(&[][..], |shelf| shelf.entries()) {
            if key.name == dedupe::SOURCE {
                let message = format!("`{}` cannot be the name of one of the sources", key.name);
                let label = "that is what gives the counts of `dedupe`";
                self.problems.push(Problem::at(key.span.clone(), message, label));
            }
            for (label, _) in source.get("labels").map_or(&[][..], |labels| labels.entries()) {
                let mut bytes = label.name.bytes();
                let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
                if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    let message =
                        format!("`{}` cannot be the name of a label in source `{}`", label.name, key.name);
                    let expected = "expected letters, digits and `_`, not a digit first";
                    self.problems.push(Problem::at(label.span.clone(), message, expected));
                }
            }
        }
        for (shelf, what) in [("sources", "source"), ("sinks", "sink")] {
            let empty =
                |shelf: &Node| shelf.is_null() || matches!(&shelf.body, Body::Map(all) if all.is_empty());
            if root.get(shelf).is_none_or(empty) {
                let message = format!("there is no {what}");
                match root.entry(shelf) {
                    Some((key, _)) => {
                        let label = format!("name at least one {what} here");
                        self.problems.push(Problem::at(key.span.clone(), message, label));
                    }
                    None => self.problems.push(Problem::whole(format!("{message}: `{shelf}` is missing"))),
                }
            }
        }
    }

    fn pipelines(&mut self) {
        let root = self.root;
        let names = root.get("pipelines").map_or(&[][..], |shelf| shelf.entries());
        let names: Vec<&str> = names.iter().map(|(key, _)| key.name.as_str()).collect();
        for (key, source) in root.get("sources").map_or(&[][..], |shelf| shelf.entries()) {
            let Some(pipeline) = source.get("pipeline").and_then(Node::text) else {
                continue;
            };
            if names.contains(&pipeline) {
                continue;
            }
            let message = format!("there is no pipeline `{pipeline}` for source `{}`", key.name);
            let hint = did_you_mean(pipeline, names.iter().copied());
            let label = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
            let known = match names.is_empty() {
                true => "`pipelines` defines none".to_owned(),
                false => format!("known pipelines: {}", names.join(", ")),
            };
            self.problem(&["sources", &key.name, "pipeline"], message, label).notes.push(known);
        }
    }

    fn addresses(&mut self, written: &Written) {
        let mut taken = HashMap::new();
        let mut readers_of_stdin: Option<&str> = None;
        for (name, _, kind) in &written.sources {
            match kind {
                SourceKind::Syslog(syslog) => {
                    self.listens(name, &syslog.listen, syslog.tls.is_some(), &mut taken);
                    self.partial_memory(name, ("max_message", syslog.max_message), syslog.partial_memory);
                }
                SourceKind::Http(http) => {
                    self.listens(name, &http.listen, http.tls.is_some(), &mut taken);
                    self.requests(name, http);
                }
                SourceKind::Loki(loki) => {
                    self.listens(name, &loki.listen, loki.tls.is_some(), &mut taken);
                    self.requests(name, &loki.server());
                }
                SourceKind::Socket(socket) => {
                    self.listens(name, &socket.listen, socket.tls.is_some(), &mut taken);
                    self.partial_memory(name, ("max_message", socket.max_message), socket.partial_memory);
                }
                SourceKind::Stdin(_) => {
                    if let Some(other) = readers_of_stdin.replace(name) {
                        let message = format!("source `{name}` reads the standard input too");
                        let label = format!("source `{other}` reads it already");
                        self.problem(&["sources", name, "type"], message, label);
                    }
                }
                SourceKind::Docker(docker) => {
                    self.partial_memory(name, ("max_line", docker.max_line), docker.partial_memory);
                }
                SourceKind::File(_) | SourceKind::Submit(_) => {}
            }
        }
    }

    /// That nobody else listens at the addresses of a source, and that its TLS is neither half there nor unused.
    fn listens<'a>(
        &mut self,
        name: &'a str,
        listen: &[Listen],
        has_keys: bool,
        taken: &mut HashMap<Claim, &'a str>,
    ) {
        for (index, address) in listen.iter().enumerate() {
            let place = ["sources", name, "listen", &index.to_string()];
            if let Some(other) = address.claim().and_then(|claim| taken.insert(claim, name)) {
                let message = format!("`{address}` is listened on twice");
                self.problem(&place, message, format!("source `{other}` has it already"));
            }
            if matches!(address, Listen::Tls(_)) && !has_keys {
                let message = format!("source `{name}` has no certificate for `{address}`");
                self.problem(&place, message, "expected `tls: { cert: FILE, key: FILE }` beside `listen`");
            }
        }
        // Who wrote it believes that something is encrypted.
        if has_keys && !listen.iter().any(|address| matches!(address, Listen::Tls(_))) {
            let message = format!("`tls` in source `{name}` is for no address");
            self.problem(&["sources", name, "tls"], message, "expected a `tls://` address in `listen`");
        }
    }

    /// That requests come by connections, and fit the memory for them.
    fn requests(&mut self, name: &str, http: &HttpSourceConfig) {
        for (index, address) in http.listen.iter().enumerate().filter(|(_, listen)| listen.is_datagrams()) {
            let message = format!("source `{name}` takes no datagrams, so not `{address}`");
            let label = "expected `tcp://`, `tls://` or `unix://`";
            self.problem(&["sources", name, "listen", &index.to_string()], message, label);
        }
        if http.body_memory < 2 * http.max_body {
            let message = format!("`body_memory` in source `{name}` is less than two `max_body`");
            let label = format!("expected at least {}", crate::units::format_size(2 * http.max_body as u64));
            self.problem(&["sources", name, "body_memory"], message, label);
        }
    }

    fn partial_memory(&mut self, name: &str, (key, longest): (&str, usize), partial_memory: usize) {
        if longest > partial_memory {
            let message = format!("`partial_memory` in source `{name}` is less than one `{key}`");
            let label = format!("expected at least {}", crate::units::format_size(longest as u64));
            self.problem(&["sources", name, "partial_memory"], message, label);
        }
    }

    fn paths(&mut self, written: &Written) {
        let mut taken = HashMap::new();
        for (name, keys, kind) in &written.sinks {
            let SinkKind::File(file) = kind else {
                continue;
            };
            if keys.enabled
                && let Some(other) = taken.insert(file.path.as_str(), name.as_str())
            {
                // Two writers in one file tear each other's lines.
                let message = format!("sink `{name}` writes the same files as sink `{other}`");
                self.problem(&["sinks", name, "path"], message, "give each its own path");
            }
        }
    }

    fn sinks(&mut self, written: &Written) {
        let root = self.root;
        let sinks = root.get("sinks").map_or(&[][..], |shelf| shelf.entries());
        if sinks.len() > SINKS_MAX {
            let (key, _) = &sinks[SINKS_MAX];
            let message = format!("{} sinks; the most is {SINKS_MAX}", sinks.len());
            self.problems.push(Problem::at(
                key.span.clone(),
                message,
                format!("this is number {}", SINKS_MAX + 1),
            ));
        }
        for (name, _, kind) in &written.sinks {
            if let Some((key, message, label)) = kind.problem() {
                self.problem(&["sinks", name, key], format!("{message}, in sink `{name}`"), label);
            }
        }
        self.fallbacks(written);
        let none_enabled = !sinks.is_empty() && written.sinks.iter().all(|(_, keys, _)| !keys.enabled);
        if none_enabled && written.sinks.len() == sinks.len() {
            let span = self.key_span(&["sinks"]);
            let label = "at least one needs `enabled: true`";
            self.problems.push(Problem::at(span, "no sink is enabled: no entry could leave", label));
        }
    }

    fn texts(&mut self, written: &Written, languages: &TextChecks) {
        self.steps(written, languages);
        for (name, keys, kind) in &written.sinks {
            if let Some(when) = &keys.when {
                self.text(&["sinks", name, "when"], when, languages.expression);
            }
            if let SinkKind::File(file) = kind {
                self.text(&["sinks", name, "path"], &file.path, languages.template);
            }
            for (keys, pattern) in kind.patterns() {
                let path: Vec<&str> = ["sinks", name].into_iter().chain(keys).collect();
                self.text(&path, pattern, languages.pattern);
            }
        }
    }

    /// Points inside the text where it stands letter by letter in the file, and shows it again where it does not.
    fn text(&mut self, path: &[&str], text: &str, check: TextCheck) {
        let Err((bytes, label)) = check(text) else {
            return;
        };
        let owned: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let message = format!("cannot read {}", subject(&owned));
        let node = self.root.find(path).map(|node| (&node.body, node.span.end));
        match node {
            Some((Body::Scalar { verbatim: Some(first), .. }, end)) => {
                // The end of the text is the quote or the end of the line behind it: there one caret is enough.
                let last = end.saturating_sub(1).max(*first);
                let at = (first + bytes.start).min(last);
                let to = (first + bytes.end).clamp(at + 1, last.max(at + 1));
                self.problems.push(Problem::at(at..to, message, label));
            }
            _ => {
                let note = format!("at byte {} of: {text}", bytes.start);
                self.problem(path, message, label).notes.push(note);
            }
        }
    }

    fn limits(&mut self, general: &GeneralConfig) {
        let pressure = &general.dispatcher.backpressure;
        if pressure.low_watermark >= pressure.high_watermark {
            let path = ["dispatcher", "backpressure"];
            let low_written = self.root.find(&[path[0], path[1], "low_watermark"]).is_some();
            let key = if low_written { "low_watermark" } else { "high_watermark" };
            let message = format!(
                "`low_watermark` is {} and `high_watermark` {}{}",
                pressure.low_watermark,
                pressure.high_watermark,
                place(&path.map(String::from))
            );
            self.problem(&[path[0], path[1], key], message, "the low one must be below the high one");
        }
        let dlq = &general.dispatcher.dlq;
        if dlq.max_bytes < DlqConfig::MAX_BYTES_MIN {
            let shown = crate::units::format_size;
            let message = format!("`max_bytes` in `dispatcher.dlq` is {}", shown(dlq.max_bytes as u64));
            let label = format!("expected at least {}", shown(DlqConfig::MAX_BYTES_MIN as u64));
            self.problem(&["dispatcher", "dlq", "max_bytes"], message, label);
        }
        if let Some(bytes) = general.quotas.max_memory.set()
            && *bytes < MEMORY_MIN
        {
            let message = format!("`max_memory` in `quotas` is {}", crate::units::format_size(*bytes as u64));
            let label = format!("expected at least {}", crate::units::format_size(MEMORY_MIN as u64));
            self.problem(&["quotas", "max_memory"], message, label);
        }
    }

    fn retries(&mut self, general: &GeneralConfig, written: &Written) {
        let retry = general.dispatcher.retry();
        let longest = crate::units::format_duration;
        if retry.backoff > retry.backoff_max {
            let message =
                format!("`retry_backoff` in `dispatcher` is more than {}", longest(retry.backoff_max));
            let path = ["dispatcher", "retry_backoff"];
            self.problem(&path, message, "`retry_backoff_max` must not be shorter");
        }
        for (name, keys, _) in &written.sinks {
            let own = retry.with(&keys.retry);
            if own != retry && own.backoff > own.backoff_max {
                let message = format!(
                    "`backoff` in `retry` of sink `{name}` is more than {}",
                    longest(own.backoff_max)
                );
                let key = if keys.retry.backoff.is_some() { "backoff" } else { "backoff_max" };
                self.problem(&["sinks", name, "retry", key], message, "`backoff_max` must not be shorter");
            }
        }
    }
}

/// Less than this is a slip of the unit and not a budget.
const MEMORY_MIN: usize = 16 << 20;
