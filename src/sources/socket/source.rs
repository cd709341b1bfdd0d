//! The `socket` source: its member on the intake thread.

use super::config::SocketFraming;
use super::framing::Filled;
use super::prefix::PrefixFramer;
use crate::sources::framing::LineFramer;
use crate::sources::inlet::InletSpec;
use crate::sources::multiline::Rules;
use crate::sources::multiline::framer::EventFramer;
use crate::sources::net::Intake;
use crate::sources::net::framed::Framed;
use crate::sources::net::incoming::Framing;
use crate::sources::net::listen::Listen;
use crate::sources::net::settings::Settings;
use crate::sources::syslog::octet::OctetFramer;
use std::io;
use std::sync::Arc;

const KIND: &str = "socket";

impl Intake {
    /// Puts a socket source on the thread, listening from now on. Says where: port 0 lets the system choose.
    ///
    /// `multiline` says which lines of a connection are one message, unless each is; only with [`SocketFraming::Newline`].
    ///
    /// Errors name the source and the address it cannot listen on.
    pub fn add_socket(
        &mut self,
        framing: SocketFraming,
        multiline: Option<Arc<Rules>>,
        mut settings: Settings,
        spec: InletSpec,
    ) -> io::Result<Vec<Listen>> {
        let lines = LineFramer::new(settings.max_message);
        let max = u32::try_from(settings.max_message).unwrap_or(u32::MAX);
        if let Some(rules) = multiline {
            let events = EventFramer::new(rules, settings.max_message).strip_cr();
            settings.max_message = events.longest();
            return self.add_framed(Filled(events), settings, spec);
        }
        match framing {
            SocketFraming::Newline => self.add_framed(Filled(lines.strip_cr()), settings, spec),
            SocketFraming::Nul => self.add_framed(Filled(lines.ended_by_nul()), settings, spec),
            SocketFraming::OctetCount => {
                self.add_framed(OctetFramer::new(max).counted_only(), settings, spec)
            }
            SocketFraming::LengthPrefix => self.add_framed(PrefixFramer::new(max), settings, spec),
        }
    }

    fn add_framed<F: Framing + Clone + 'static>(
        &mut self,
        framing: F,
        settings: Settings,
        spec: InletSpec,
    ) -> io::Result<Vec<Listen>> {
        let (member, bound) = Framed::listen(settings, KIND, framing, spec, self.place()?, self.waker())?;
        self.add(Box::new(member));
        Ok(bound)
    }
}
