//! Who has to go: the connections with the longest unfinished messages when memory is short, and those that complete
//! nothing for too long.

use super::Connections;
use crate::sources::net::filler::Filler;
use crate::sources::net::incoming::Framing;
use crate::sources::net::link::Link;
use crate::sources::net::settings::Settings;
use std::time::{Duration, Instant};

/// Bounds of the time between two looks for idle connections; within them it is a quarter of the timeout.
const IDLE_LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

impl<F: Framing + Clone> Connections<F> {
    /// Closes the connections with the longest unfinished messages until the rest has room.
    pub(super) fn free_partial_memory(&mut self, filler: &Filler, now: Instant) {
        // Those that are to go still have what they had.
        let mut going = 0;
        while self.partial - going > self.settings.partial_memory {
            let open = self.slots.iter().enumerate();
            let partial = open.filter_map(|(slot, connection)| Some((slot, connection.as_ref()?)));
            let longest = partial
                .filter(|(_, connection)| !connection.incoming.is_ended() && connection.incoming.is_partial())
                .filter(|(_, connection)| connection.charged > 0)
                .max_by_key(|(_, connection)| connection.charged);
            let Some((slot, connection)) = longest else { return };
            if let Some(more) = self.quiet.memory.may_speak(now) {
                tracing::warn!(
                    "source {}: connection of {} closed with {} bytes of an unfinished message: all of them took more \
                     than partial_memory, {} bytes ({more} more closed since this was last said)",
                    filler.source_name(),
                    connection.link.peer(),
                    connection.charged,
                    self.settings.partial_memory
                );
            }
            going += connection.charged;
            self.end(slot as u32);
        }
    }

    /// Reads no more from the connection: the next turn hands in what there is and closes it.
    pub(super) fn end(&mut self, slot: u32) {
        if let Some(Some(connection)) = self.slots.get_mut(slot as usize) {
            connection.incoming.end();
            self.ended.push_back(slot);
        }
    }

    /// How long the connection may go on without completing what it is at; zero: for ever.
    pub(super) fn timeout(&self, link: &Link) -> Duration {
        let Settings { handshake_timeout, idle_timeout, .. } = &self.settings;
        if link.is_handshaking() { *handshake_timeout } else { *idle_timeout }
    }

    pub(super) fn look_interval(&self) -> Duration {
        let Settings { handshake_timeout, idle_timeout, tls, .. } = &self.settings;
        let handshake = tls.is_some().then_some(*handshake_timeout);
        let shortest =
            handshake.into_iter().chain([*idle_timeout]).filter(|timeout| !timeout.is_zero()).min();
        (shortest.unwrap_or(IDLE_LOOK.1) / 4).clamp(IDLE_LOOK.0, IDLE_LOOK.1)
    }

    /// Ends those that completed nothing for too long, if it is time to look.
    pub fn end_idle(&mut self, filler: &Filler, now: Instant) {
        if self.look.is_none_or(|look| now < look) {
            return;
        }
        self.look = Some(now + self.look_interval());
        for slot in 0..self.slots.len() {
            let Some(connection) = &self.slots[slot] else { continue };
            let (timeout, excused) =
                (self.timeout(&connection.link), self.excused.unwrap_or(connection.progress));
            // One in the queue has bytes we have not read: that is our delay.
            if timeout.is_zero() || connection.queued || now < connection.progress.max(excused) + timeout {
                continue;
            }
            let (peer, state) = (connection.link.peer(), &connection.incoming);
            if connection.link.is_handshaking() {
                let reason = format!("its TLS handshake is not complete after {timeout:?}");
                self.quiet.broken(filler, peer, &reason, 0, now);
            } else if let Some(more) = self.quiet.idle.may_speak(now) {
                let state = if state.is_partial() { "an unfinished message" } else { "nothing" };
                tracing::info!(
                    "source {}: connection of {peer} closed: {state} for {timeout:?} ({more} more closed since this \
                     was last said)",
                    filler.source_name()
                );
            }
            self.end(slot as u32);
        }
    }
}
