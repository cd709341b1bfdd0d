//! A source of requests goes on under other settings: connections stay, and no address is closed that stays.
//!
//! In two parts, as for sources of frames (see [`super::super::change`]): what is new is opened first, and takes its place
//! later. Connections stay, whatever door they came by. A request that had come whole before is served as was said then,
//! further ones as is said now. Not here: another number of decode threads, for which the source has to begin anew.

use super::HttpSettings;
use super::server::{Door, HttpServer};
use super::service::Service;
use super::terms::Terms;
use crate::sources::inlet::Strategy;
use crate::sources::net::listen::{Listen, cannot_listen};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What a source of requests is to go on under.
pub struct Change {
    /// What its config says now.
    pub settings: HttpSettings,
    /// What it makes of requests.
    pub service: Arc<dyn Service>,
    /// What it does when it cannot go on.
    pub strategy: Strategy,
}

/// A change that is ready.
pub(super) struct Ready {
    terms: Terms,
    /// Doors that stay, by key, each with what it is to be.
    kept: Vec<(u32, Listen)>,
    /// Doors that are new.
    opened: Vec<Door>,
}

impl HttpServer {
    /// Opens what is new in `change`. Says which addresses there will be.
    pub(super) fn get_ready(&mut self, change: Change) -> io::Result<Vec<Listen>> {
        let Change { settings, service, strategy } = change;
        let (mut kept, mut opened, mut bound) = (Vec::new(), Vec::<Door>::new(), Vec::new());
        for listen in &settings.listen {
            let stays = |door: &&Door| {
                let free = !kept.iter().any(|(taken, _)| *taken == door.key);
                free && !door.leaving && door.asked.is_same_socket(listen)
            };
            if let Some(door) = self.doors.iter().find(stays) {
                bound.push(door.listener.bound().as_asked(listen));
                kept.push((door.key, listen.clone()));
                continue;
            }
            let taken = |key: &u32| self.doors.iter().chain(&opened).any(|door| door.key == *key);
            let key = (0..).find(|key| !taken(key)).unwrap_or_default();
            let door = Door::open(key, listen, &settings, &self.clients)
                .map_err(|error| cannot_listen(&self.desk.ledger.name, listen, &error))?;
            bound.push(door.listener.bound().clone());
            opened.push(door);
        }
        self.ready = Some(Ready { terms: Terms { settings, service, strategy }, kept, opened });
        Ok(bound)
    }

    /// Takes up what was made ready.
    pub(super) fn take_up(&mut self, now: Instant) {
        let Some(Ready { terms, kept, opened }) = self.ready.take() else { return };
        let settings = &terms.settings;
        for door in &mut self.doors {
            let Some((_, listen)) = kept.iter().find(|(key, _)| *key == door.key) else {
                // Who waits in front of it is let in, also if nothing told of them yet.
                door.leave();
                continue;
            };
            let bound = door.listener.bound().as_asked(listen);
            door.listener.change(bound, settings.tls.as_ref(), settings.socket_mode);
            door.asked = listen.clone();
        }
        self.doors.extend(opened);
        self.desk.change(terms);
        self.clients.change(&self.desk, now);
        self.clients.feed(now);
    }
}
