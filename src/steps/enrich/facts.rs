//! What is known about the host it runs on.

use serde::{Deserialize, Serialize};
use std::fs;

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The name of the host.
    Hostname,
    /// The operating system as it calls itself, such as `Debian GNU/Linux 13 (trixie)` (os-release(5), `PRETTY_NAME`).
    Os,
    /// Its short name, such as `debian` (`ID`).
    OsId,
    /// The release of the kernel.
    Kernel,
    /// The architecture, such as `x86_64`.
    Arch,
    /// What tells this installation from all others (machine-id(5)).
    MachineId,
    /// What tells this boot from all others.
    BootId,
    /// The version of Ringmain.
    Version,
}

impl Fact {
    /// As it is here, asked once when the config is read; `None` where the host does not say.
    pub fn find(self) -> Option<String> {
        let host = rustix::system::uname();
        let text = |said: &std::ffi::CStr| Some(said.to_string_lossy().into_owned());
        let line = |path: &str| Some(fs::read_to_string(path).ok()?.trim().to_owned());
        let found = match self {
            Fact::Hostname => text(host.nodename()),
            Fact::Kernel => text(host.release()),
            Fact::Arch => text(host.machine()),
            Fact::Os => os_release("PRETTY_NAME"),
            Fact::OsId => os_release("ID"),
            Fact::MachineId => line("/etc/machine-id"),
            Fact::BootId => line("/proc/sys/kernel/random/boot_id"),
            Fact::Version => Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        found.filter(|said| !said.is_empty())
    }
}

fn os_release(key: &str) -> Option<String> {
    let text =
        fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).ok()?;
    value_of(&text, key)
}

/// The value of `key` in a file of shell-like assignments, without its quotes.
fn value_of(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    let quoted = |quote| value.strip_prefix(quote).and_then(|inside| inside.strip_suffix(quote));
    Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_this_host() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(Fact::Hostname.find().as_deref(), Some(name.trim()));
        assert_eq!(Fact::Arch.find().as_deref(), Some(std::env::consts::ARCH));
        let release = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 13\"\nID=debian\nID_LIKE='a b'\n";
        assert_eq!(value_of(release, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 13"));
        assert_eq!(value_of(release, "ID").as_deref(), Some("debian"));
        assert_eq!(value_of(release, "ID_LIKE").as_deref(), Some("a b"));
        assert_eq!(value_of(release, "NONE"), None);
    }
}
