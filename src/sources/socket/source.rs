//! The `socket` source: its member on the intake thread.

use super::config::SocketFraming;
use super::framing::Filled;
use super::prefix::PrefixFramer;
use crate::sources::framing::LineFramer;
use crate::sources::inlet::{InletSpec, Strategy};
use crate::sources::multiline::Rules;
use crate::sources::multiline::framer::EventFramer;
use crate::sources::net::Intake;
use crate::sources::net::change::Change;
use crate::sources::net::framed::Framed;
use crate::sources::net::incoming::Framing;
use crate::sources::net::listen::Listen;
use crate::sources::net::settings::Settings;
use crate::sources::syslog::octet::OctetFramer;
use std::any::Any;
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
        match framer(framing, multiline, &mut settings) {
            Framer::Events(framing) => self.add_framed(framing, settings, spec),
            Framer::Lines(framing) => self.add_framed(framing, settings, spec),
            Framer::Counted(framing) => self.add_framed(framing, settings, spec),
            Framer::Prefixed(framing) => self.add_framed(framing, settings, spec),
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

/// What a running socket source is to go on under. It can if it frames in the same way, whatever the limits are.
pub fn change(
    framing: SocketFraming,
    multiline: Option<Arc<Rules>>,
    mut settings: Settings,
    strategy: Strategy,
) -> Box<dyn Any + Send> {
    match framer(framing, multiline, &mut settings) {
        Framer::Events(framing) => Box::new(Change { settings, framing, strategy }),
        Framer::Lines(framing) => Box::new(Change { settings, framing, strategy }),
        Framer::Counted(framing) => Box::new(Change { settings, framing, strategy }),
        Framer::Prefixed(framing) => Box::new(Change { settings, framing, strategy }),
    }
}

/// What frames a connection's bytes.
enum Framer {
    Events(Filled<EventFramer>),
    Lines(Filled<LineFramer>),
    Counted(OctetFramer),
    Prefixed(PrefixFramer),
}

/// The framer for these settings, in which a message becomes as long as an event may be.
fn framer(framing: SocketFraming, multiline: Option<Arc<Rules>>, settings: &mut Settings) -> Framer {
    let lines = LineFramer::new(settings.max_message);
    let max = u32::try_from(settings.max_message).unwrap_or(u32::MAX);
    if let Some(rules) = multiline {
        let events = EventFramer::new(rules, settings.max_message).strip_cr();
        settings.max_message = events.longest();
        return Framer::Events(Filled(events));
    }
    match framing {
        SocketFraming::Newline => Framer::Lines(Filled(lines.strip_cr())),
        SocketFraming::Nul => Framer::Lines(Filled(lines.ended_by_nul())),
        SocketFraming::OctetCount => Framer::Counted(OctetFramer::new(max).counted_only()),
        SocketFraming::LengthPrefix => Framer::Prefixed(PrefixFramer::new(max)),
    }
}
