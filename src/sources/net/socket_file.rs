//! The file of a unix socket: put there, and taken away again by whoever put it there.

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Removes the file when dropped, if it still is the one that was put there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket of `kind` to `path`; whoever may write to a file of `mode` may connect to it.
    ///
    /// A socket that is there already and that nobody listens on, left by a process that was killed, is replaced.
    /// Errors: somebody listens there, something else is there, or what the system says.
    pub fn bind(path: &Path, kind: Type, mode: u32) -> io::Result<(Socket, Self)> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
        // The file is created with the mode the descriptor has, less the umask: never open to more than it should be.
        fchmod(&socket, Mode::from_raw_mode(mode))?;
        socket.bind(&SockAddr::unix(path)?)?;
        let found = fs::symlink_metadata(path)?;
        let file = SocketFile { path: path.into(), identity: (found.dev(), found.ino()) };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok((socket, file))
    }
}

impl SocketFile {
    /// Who may connect from now on.
    pub fn set_mode(&self, mode: u32) {
        if let Err(error) = fs::set_permissions(&self.path, fs::Permissions::from_mode(mode)) {
            tracing::warn!("the socket {} keeps its mode: {error}", self.path.display());
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if still.is_ok_and(|still| still == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("the socket {} stays behind: {error}", self.path.display());
        }
    }
}

/// Removes the socket at `path` if nobody listens on it.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other("something is there that is no socket; it is not touched"));
    }
    let address = SockAddr::unix(path)?;
    // unix(7): of the wrong type, EPROTOTYPE; nobody there, ECONNREFUSED; everything else means that somebody is.
    for kind in [Type::STREAM, Type::DGRAM, Type::SEQPACKET] {
        match Socket::new(Domain::UNIX, kind.nonblocking(), None)?.connect(&address) {
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return fs::remove_file(path),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            _ => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there already")),
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there already"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        for (kind, wanted) in [(Type::STREAM, 0o600), (Type::DGRAM, 0o666)] {
            let (_socket, file) = SocketFile::bind(&path, kind, wanted).unwrap();
            assert_eq!(mode(&path), wanted);
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn another_ones_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (_socket, file) = SocketFile::bind(&path, Type::STREAM, 0o600).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _next = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        drop(UnixListener::bind(at("stale")).unwrap());
        drop(UnixDatagram::bind(at("stale-datagrams")).unwrap());
        for name in ["stale", "stale-datagrams"] {
            for kind in [Type::STREAM, Type::DGRAM] {
                let (socket, file) = SocketFile::bind(&at(name), kind, 0o600).unwrap();
                if kind == Type::STREAM {
                    socket.listen(1).unwrap();
                    UnixStream::connect(at(name)).unwrap();
                }
                // As by a process that is killed.
                std::mem::forget(file);
            }
        }
        let (_stream, _datagrams) =
            (UnixListener::bind(at("live")).unwrap(), UnixDatagram::bind(at("live-datagrams")).unwrap());
        fs::write(at("file"), "precious").unwrap();
        std::os::unix::fs::symlink(at("stale"), at("link")).unwrap();
        for (name, why) in [
            ("live", "somebody listens there already"),
            ("live-datagrams", "somebody listens there already"),
            ("file", "no socket"),
            ("link", "no socket"),
            (".", "no socket"),
        ] {
            for kind in [Type::STREAM, Type::DGRAM] {
                let error = SocketFile::bind(&at(name), kind, 0o600).unwrap_err();
                assert!(error.to_string().contains(why), "{name}: {error}");
            }
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"precious");
        assert!(UnixStream::connect(at("live")).is_ok());
    }
}
