//! A source of frames goes on under other settings: nobody who is connected notices, and no address is closed that stays.
//!
//! In two parts, so that it can be taken back: what is new is opened first ([`Member::prepare`]), and takes its place
//! later ([`Member::decide`]). Listeners whose address stays are kept, with other keys for TLS if those are others; what
//! comes to one that goes is taken in before it is closed. Connections stay, whatever door they came by: they carry the
//! new labels from their next message on, and keep the framing they began with.
//!
//! [`Member::prepare`]: super::Member::prepare
//! [`Member::decide`]: super::Member::decide

use super::framed::{Door, Framed};
use super::incoming::Framing;
use super::listen::{Listen, cannot_listen};
use super::settings::Settings;
use crate::sources::inlet::Strategy;
use std::io;

/// What a source of frames is to go on under.
pub struct Change<F> {
    /// What its config says now.
    pub settings: Settings,
    /// How new connections are framed.
    pub framing: F,
    /// What it does when it cannot go on.
    pub strategy: Strategy,
}

/// A change that is ready.
pub(super) struct Ready<F> {
    change: Change<F>,
    /// Doors that stay, by key, each with what it is to be.
    kept: Vec<(usize, Listen)>,
    /// Doors that are new, each with its key and what was asked for.
    opened: Vec<(usize, Listen, Door)>,
}

impl<F: Framing + Clone> Framed<F> {
    /// Opens what is new in `change`. Says which addresses there will be.
    pub(super) fn get_ready(&mut self, change: Change<F>) -> io::Result<Vec<Listen>> {
        let mut ready = Ready { change, kept: Vec::new(), opened: Vec::new() };
        let mut bound = Vec::new();
        for listen in &ready.change.settings.listen {
            let stays = |(key, asked): (usize, &Listen)| {
                let free = !ready.kept.iter().any(|(taken, _)| *taken == key);
                (free && self.is_open(key) && asked.is_same_socket(listen)).then_some(key)
            };
            if let Some(key) = self.asked.iter().enumerate().find_map(stays) {
                bound.extend(self.bound_as(key, listen));
                ready.kept.push((key, listen.clone()));
                continue;
            }
            let taken = |key: &usize| ready.opened.iter().any(|(other, ..)| other == key);
            let free = |key: &usize| {
                let closed = matches!(self.doors.get(*key), Some(Door::Closed) | None);
                closed && !taken(key)
            };
            let key = (0..).find(free).unwrap_or_default();
            let opened = self.open_door(listen, key as u32, &ready.change.settings);
            let (door, at) =
                opened.map_err(|error| cannot_listen(&self.filler.source_name(), listen, &error))?;
            bound.push(at);
            ready.opened.push((key, listen.clone(), door));
        }
        self.ready = Some(ready);
        Ok(bound)
    }

    /// Takes up what was made ready.
    pub(super) fn take_up(&mut self) {
        let Some(Ready { change, kept, opened }) = self.ready.take() else { return };
        let Change { settings, framing, strategy } = change;
        self.filler.set_strategy(strategy);
        self.connections.change(settings, framing, &self.filler.source_name());
        for key in 0..self.doors.len() {
            let stays = kept.iter().find(|(kept, _)| *kept == key).map(|(_, listen)| listen);
            match stays {
                Some(listen) => self.keep_door(key, listen),
                None if !self.leaving.contains(&key) => self.leaving.push(key),
                None => {}
            }
        }
        for (key, asked, door) in opened {
            while self.doors.len() <= key {
                self.doors.push(Door::Closed);
                self.asked.push(asked.clone());
            }
            self.leaving.retain(|leaving| *leaving != key);
            (self.doors[key], self.asked[key]) = (door, asked);
        }
    }

    fn is_open(&self, key: usize) -> bool {
        !self.leaving.contains(&key) && !matches!(self.doors.get(key), Some(Door::Closed) | None)
    }

    fn bound_as(&self, key: usize, listen: &Listen) -> Option<Listen> {
        let bound = match self.doors.get(key)? {
            Door::Connections(entrance) => entrance.listener.bound(),
            Door::Datagrams(socket) => socket.bound(),
            Door::Closed => return None,
        };
        Some(bound.as_asked(listen))
    }

    fn keep_door(&mut self, key: usize, listen: &Listen) {
        let bound = self.bound_as(key, listen);
        let settings = self.connections.settings();
        match self.doors.get_mut(key) {
            Some(Door::Connections(entrance)) => {
                if let Some(bound) = bound {
                    entrance.listener.change(bound, settings.tls.as_ref(), settings.socket_mode);
                }
            }
            Some(Door::Datagrams(socket)) => {
                let stream = self.connections.stream(self.filler.source_name(), socket.bound().to_string());
                socket.change(settings, stream);
            }
            Some(Door::Closed) | None => {}
        }
        self.asked[key] = listen.clone();
    }

    /// Closes the doors that go once nothing is left behind them.
    pub(super) fn close_left(&mut self) {
        self.leaving.retain(|key| {
            let door = &mut self.doors[*key];
            let done = door.is_emptied();
            if done {
                *door = Door::Closed;
            }
            !done
        });
    }
}
