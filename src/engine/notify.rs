//! What the service manager is told: sd_notify(3), spoken by ourselves.
//!
//! One datagram per message to the socket in `NOTIFY_SOCKET`, of lines `NAME=VALUE`. Without that variable nothing is
//! said. The address is a path, or a name in the abstract namespace written with `@` in front.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
pub struct Notify {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The way the environment names, if it names one. One that cannot be taken is said and not taken.
    pub fn from_env() -> Option<Notify> {
        let to = std::env::var_os("NOTIFY_SOCKET").filter(|to| !to.is_empty())?;
        let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        // Meant for another process: a child of one that is watched inherits the variable.
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = variable("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        match Notify::to(&to, watchdog.map(Duration::from_micros)) {
            Ok(notify) => Some(notify),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={}: the service manager hears nothing: {error}", to.display());
                None
            }
        }
    }

    /// The way to the socket called `to`, which wants a sign of life every `watchdog`.
    ///
    /// Errors: no such address can be, or there is no descriptor left.
    pub fn to(to: &OsStr, watchdog: Option<Duration>) -> io::Result<Notify> {
        let address = match to.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(to)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "expected `/PATH` or `@NAME`")),
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that does not read must not hold us up.
        socket.set_nonblocking(true)?;
        Ok(Notify { socket, address, watchdog })
    }

    /// How often a sign of life is to be given: twice in the time the service manager waits for one.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|every| every / 2)
    }

    /// Everything runs; also said after a reload.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// A reload begins.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000;
        // systemd compares it with the time it asked, to tell an old reload from a new one.
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends, and may take so long for it.
    pub fn stopping(&self, longest: Duration) {
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", longest.as_micros()));
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// How it is, in one line.
    pub fn status(&self, line: &str) {
        self.say(&format!("STATUS={}", line.replace('\n', " ")));
    }

    fn say(&self, message: &str) {
        // What cannot be said now is old by the time it could: the next message comes soon.
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            tracing::debug!("the service manager was not told {message:?}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let read = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_both_spoken_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("ringmain-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (socket, to) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let notify = Notify::to(&to, Some(Duration::from_secs(30))).unwrap();
            notify.ready();
            assert_eq!(heard(&socket), "READY=1");
            notify.reloading();
            let said = heard(&socket);
            let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0, "{said}");
            notify.stopping(Duration::from_secs(2));
            assert_eq!(heard(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000");
            notify.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            notify.status("two\nlines");
            assert_eq!(heard(&socket), "STATUS=two lines");
            assert_eq!(notify.watchdog(), Some(Duration::from_secs(15)));
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused_and_nobody_there_is_no_failure() {
        assert!(Notify::to(OsStr::new("vsock:2:1"), None).is_err());
        let notify = Notify::to(OsStr::new("/nowhere/at/all"), None).unwrap();
        notify.ready();
        assert_eq!(notify.watchdog(), None);
    }
}
