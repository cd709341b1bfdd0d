//! The `syslog` source: its member on the intake thread.

use super::octet::OctetFramer;
use crate::sources::inlet::{InletSpec, Strategy};
use crate::sources::net::Intake;
use crate::sources::net::change::Change;
use crate::sources::net::framed::Framed;
use crate::sources::net::listen::Listen;
use crate::sources::net::settings::Settings;
use std::io;

impl Intake {
    /// Puts a syslog source on the thread, listening from now on. Says where: port 0 lets the system choose.
    ///
    /// Errors name the source and the address it cannot listen on.
    pub fn add_syslog(&mut self, settings: Settings, spec: InletSpec) -> io::Result<Vec<Listen>> {
        let framing = OctetFramer::new(u32::try_from(settings.max_message).unwrap_or(u32::MAX));
        let (member, bound) = Framed::listen(settings, "syslog", framing, spec, self.place()?, self.waker())?;
        self.add(Box::new(member));
        Ok(bound)
    }
}

/// What a running syslog source is to go on under.
pub fn change(settings: Settings, strategy: Strategy) -> Change<OctetFramer> {
    let framing = OctetFramer::new(u32::try_from(settings.max_message).unwrap_or(u32::MAX));
    Change { settings, framing, strategy }
}
