//! Which containers there are: lists, and the events between them.
//!
//! Events only say whom to ask about. While they cannot be heard, and every `rescan` in any case, everything is listed:
//! an event that was lost costs time, never a line.

use super::container::{BACKOFF_MIN, Container, Phase};
use super::exchange::{Exchange, Got};
use super::list::{EVENT_MAX, LIST_MAX, Listed, events, list, reason};
use super::place::{self, Place};
use super::reader::{Number, Reader, Whose};
use crate::checkpoint::{Key, Start};
use crate::clock::unix_nanos;
use crate::sources::containers::Std;
use crate::sources::file::ReadFrom;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most containers that are looked at; the engine lists running and new ones first.
const LISTED_MAX: usize = 20_000;
/// So many are asked about by name; more are asked about by listing all.
const ASKED_MAX: usize = 50;
/// How soon an engine that did not answer is asked again, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a list waits for the engine to say that it will tell of events.
const LISTEN_FIRST: Duration = Duration::from_millis(500);

/// A list under way.
struct Listing {
    exchange: Exchange,
    body: Vec<u8>,
    status: Option<u16>,
    /// Whom it is about; nobody: all.
    about: Vec<String>,
    until: Instant,
}

/// What is under way to know of containers.
pub(super) struct Discovery {
    listing: Option<Listing>,
    events: Option<(Exchange, Vec<u8>)>,
    /// When everything is listed next; `None`: now.
    list_at: Option<Instant>,
    /// When the engine is next asked for events.
    events_at: Option<Instant>,
    wanted: BTreeSet<String>,
    /// Events were missed since the last full list.
    missed: bool,
    listed_once: bool,
    trouble: Option<String>,
    retry: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Discovery {
            listing: None,
            events: None,
            list_at: None,
            events_at: None,
            wanted: BTreeSet::new(),
            missed: true,
            listed_once: false,
            trouble: None,
            retry: RETRY.0,
        }
    }
}

impl Discovery {
    pub(super) fn notice(&mut self, whose: Whose) {
        match whose {
            Whose::List => self.listing.iter_mut().for_each(|listing| listing.exchange.notice()),
            Whose::Events => self.events.iter_mut().for_each(|(exchange, _)| exchange.notice()),
            Whose::Log(_) => {}
        }
    }

    /// Whether the engine is there is to be found out.
    pub(super) fn list_soon(&mut self) {
        if self.trouble.is_none() {
            self.list_at = None;
        }
    }

    /// Why the engine cannot be asked.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// When it wants its next turn.
    pub(super) fn due(&self) -> Option<Instant> {
        let listing = self.listing.as_ref().map(|listing| listing.until);
        let list_at = self.list_at.filter(|_| self.listing.is_none());
        let events_at = self.events_at.filter(|_| self.events.is_none());
        [listing, list_at, events_at].into_iter().flatten().min()
    }

    /// Whether there is something to begin at once.
    pub(super) fn wants_turn(&self) -> bool {
        self.listing.is_none()
            && (self.list_at.is_none() || (!self.wanted.is_empty() && self.trouble.is_none()))
    }
}

impl Reader {
    pub(super) fn discover(&mut self, now: Instant) {
        self.hear(now);
        self.begin_list(now);
        self.go_on_listing(now);
    }

    /// The container is asked about with the next list.
    pub(super) fn ask_about(&mut self, number: Number) {
        if let Some(container) = self.containers.get(&number) {
            self.discovery.wanted.insert(container.listed.id.clone());
        }
    }

    // --- events

    fn hear(&mut self, now: Instant) {
        if self.discovery.events.is_none() && self.discovery.events_at.is_none_or(|at| at <= now) {
            let target = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D";
            match self.switchboard.begin(Whose::Events, (&self.settings, target, u64::MAX), now) {
                Ok(exchange) => {
                    self.discovery.events = Some((exchange, Vec::new()));
                    // What is listed before events can be heard has to be listed again.
                    let soon = now + LISTEN_FIRST;
                    self.discovery.list_at = self.discovery.list_at.filter(|at| *at > soon).or(Some(soon));
                }
                Err(_) => self.discovery.events_at = Some(now + self.discovery.retry),
            }
        }
        let Some((exchange, kept)) = &mut self.discovery.events else { return };
        let mut told = Vec::new();
        let over = loop {
            match exchange.next(now) {
                Ok(Got::Wait) => break None,
                Ok(Got::Status(200)) => {
                    // From here on nothing is missed; what happened before is listed.
                    (self.discovery.list_at, self.discovery.missed) = (None, true);
                }
                Ok(Got::Status(status)) => break Some(format!("it answers {status} to /events")),
                Ok(Got::End) => break Some("its events have ended".to_owned()),
                Err(why) => break Some(why),
                Ok(Got::Body) => {
                    let n = exchange.body().len();
                    kept.extend_from_slice(exchange.body());
                    exchange.consume(n);
                    match events(kept) {
                        Ok(ids) => told.extend(ids),
                        Err(why) => break Some(format!("its events cannot be read: {why}")),
                    }
                    if kept.len() > EVENT_MAX {
                        break Some("an event is longer than 1 MiB".to_owned());
                    }
                }
            }
        };
        for id in told {
            if let Some(container) = self.by_id.get(&id).and_then(|number| self.containers.get_mut(number)) {
                container.has_news = true;
            }
            self.discovery.wanted.insert(id);
        }
        if let Some(why) = over {
            tracing::debug!("source {}: events of the engine are missed: {why}", self.settings.name);
            self.switchboard.forget(Whose::Events);
            let discovery = &mut self.discovery;
            (discovery.events, discovery.missed) = (None, true);
            discovery.events_at = Some(now + discovery.retry);
            discovery.list_at = Some(now + discovery.retry);
        }
    }

    // --- lists

    fn begin_list(&mut self, now: Instant) {
        let discovery = &mut self.discovery;
        if discovery.listing.is_some() {
            return;
        }
        let full = discovery.list_at.is_none_or(|at| at <= now) || discovery.wanted.len() > ASKED_MAX;
        if !full && (discovery.wanted.is_empty() || discovery.trouble.is_some()) {
            return;
        }
        let about: Vec<String> = match full {
            true => Vec::new(),
            false => std::mem::take(&mut discovery.wanted).into_iter().collect(),
        };
        if full {
            discovery.wanted.clear();
            discovery.list_at = Some(now + self.settings.rescan);
            self.keep_to_share();
        }
        let mut target = "/containers/json?all=1".to_owned();
        if !full {
            let ids: Vec<String> = about.iter().map(|id| format!("%22{id}%22")).collect();
            target.push_str(&format!("&filters=%7B%22id%22%3A%5B{}%5D%7D", ids.join("%2C")));
        }
        let until = now + self.settings.timeout;
        match self.switchboard.begin(Whose::List, (&self.settings, &target, LIST_MAX), now) {
            Ok(exchange) => {
                let (body, status) = (Vec::new(), None);
                self.discovery.listing = Some(Listing { exchange, body, status, about, until });
            }
            Err(error) => self.unwell(format!("{}: {error}", self.settings.socket.display()), now),
        }
    }

    fn go_on_listing(&mut self, now: Instant) {
        let Some(listing) = &mut self.discovery.listing else { return };
        let over = loop {
            match listing.exchange.next(now) {
                Ok(Got::Wait) if now < listing.until => return,
                Ok(Got::Wait) => {
                    break Err(format!("it did not list its containers within {:?}", self.settings.timeout));
                }
                Ok(Got::Status(status)) => listing.status = Some(status),
                Ok(Got::Body) => {
                    listing.body.extend_from_slice(listing.exchange.body());
                    let n = listing.exchange.body().len();
                    listing.exchange.consume(n);
                }
                Ok(Got::End) => match listing.status {
                    Some(200) => {
                        break list(&listing.body).map_err(|why| format!("its list cannot be read: {why}"));
                    }
                    status => break Err(reason(status.unwrap_or_default(), &listing.body)),
                },
                Err(why) => break Err(why),
            }
        };
        let about = std::mem::take(&mut listing.about);
        self.discovery.listing = None;
        self.switchboard.forget(Whose::List);
        match over {
            Ok(listed) => {
                self.well(now);
                self.learn(listed, about, now);
            }
            Err(why) => self.unwell(why, now),
        }
    }

    /// The engine cannot be asked: said once, and tried again at growing distances.
    fn unwell(&mut self, why: String, now: Instant) {
        let discovery = &mut self.discovery;
        discovery.list_at = Some(now + discovery.retry);
        discovery.missed = true;
        discovery.retry = (discovery.retry * 2).min(RETRY.1);
        if discovery.trouble.as_ref() != Some(&why) {
            tracing::warn!(
                "source {}: the engine cannot be asked, it is tried again: {why}",
                self.settings.name
            );
            discovery.trouble = Some(why);
        }
    }

    fn well(&mut self, now: Instant) {
        self.discovery.retry = RETRY.0;
        if self.discovery.trouble.take().is_none() {
            return;
        }
        tracing::info!("source {}: the engine answers again", self.settings.name);
        self.discovery.events_at = None;
        let due = self.containers.iter().filter(|(_, one)| matches!(one.phase, Phase::Due(_)));
        let due: Vec<Number> = due.map(|(number, _)| *number).collect();
        for number in due {
            self.begin_reading(number, now);
        }
    }

    /// Takes up what the engine says of all its containers, or of those it was asked `about`.
    fn learn(&mut self, mut listed: Vec<Listed>, about: Vec<String>, now: Instant) {
        let full = about.is_empty();
        if listed.len() > LISTED_MAX {
            tracing::warn!(
                "source {}: the engine lists {} containers, only {LISTED_MAX} are looked at",
                self.settings.name,
                listed.len()
            );
        }
        let ids: HashSet<String> = listed.iter().map(|one| one.id.clone()).collect();
        listed.sort_by_key(|one| !one.running);
        listed.truncate(LISTED_MAX);
        let missed = full && std::mem::take(&mut self.discovery.missed);
        let first = full && !std::mem::replace(&mut self.discovery.listed_once, true);
        for one in listed {
            match self.by_id.get(&one.id).copied() {
                Some(number) => self.learn_of(number, one, missed, now),
                None if self.picker.wants(&one) => self.meet(one, first, now),
                None => {}
            }
        }
        let gone = |id: &String| !ids.contains(id) && (full || about.contains(id));
        let over: Vec<Number> =
            self.by_id.iter().filter(|(id, _)| gone(id)).map(|(_, number)| *number).collect();
        for number in over {
            self.lose(number);
        }
        if full {
            let checkpoint = &self.checkpoint;
            self.places.retain(|id, keys| {
                let there = ids.contains(id);
                if !there {
                    keys.iter().flatten().for_each(|(key, _)| checkpoint.forget(*key));
                }
                there
            });
        }
    }

    /// A container that is followed already.
    fn learn_of(&mut self, number: Number, listed: Listed, missed: bool, now: Instant) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        container.learn(listed, &self.picker, &self.settings);
        container.gone = false;
        let running = container.listed.running;
        let begins = match container.phase {
            // Whether it ran and said something in between is not known, if events were missed.
            Phase::Resting => running || container.has_news || missed,
            Phase::Asked => true,
            _ => false,
        };
        if begins {
            self.begin_reading(number, now);
        }
    }

    fn begin_reading(&mut self, number: Number, now: Instant) {
        if let Some(container) = self.containers.get_mut(&number) {
            // Something may go wrong at once, again and again.
            let rest = if matches!(container.phase, Phase::Asked) { BACKOFF_MIN } else { Duration::ZERO };
            container.phase = Phase::Due(now + rest);
            self.set_timer(number, now + rest);
        }
    }

    /// A container that was not known.
    fn meet(&mut self, listed: Listed, first: bool, now: Instant) {
        let known = self.places.remove(&listed.id).unwrap_or_default();
        let unix = unix_nanos();
        let late = first && self.start == Start::First && self.settings.read_from == ReadFrom::End;
        let begin = if late { Place::at(unix / 1_000_000_000 * 1_000_000_000) } else { Place::default() };
        let half = |std: Std| -> (Place, (Key, Arc<Path>)) {
            let path = place::path(&listed.id, std.name());
            match known[std as usize] {
                Some((key, place)) => {
                    self.checkpoint.set(key, place.position(&path, unix));
                    (place, (key, path))
                }
                None => {
                    (begin, (self.checkpoint.add(&self.settings.name, begin.position(&path, unix)), path))
                }
            }
        };
        let [(out, out_key), (err, err_key)] = Std::ALL.map(half);
        let container = Container::new(listed, [out_key, err_key], [out, err], &self.picker, &self.settings);
        tracing::debug!("source {}: container {} is followed", self.settings.name, container.name());
        self.last_number += 1;
        let number = self.last_number;
        self.by_id.insert(container.listed.id.clone(), number);
        self.containers.insert(number, Box::new(container));
        self.begin_reading(number, now);
    }

    /// A container that the engine does not know any more.
    fn lose(&mut self, number: Number) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        container.gone = true;
        if !container.is_open() {
            container.phase = Phase::Resting;
        }
        self.remove_if_over(number);
    }
}
