//! A door for connections: opened where a config says, handing out [`Link`]s.

use super::link::Link;
use super::listen::Listen;
use super::socket_file::SocketFile;
use crate::tls::ServerTls;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Connections the kernel keeps until we accept them (it may keep fewer, see `net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// A silent peer is asked whether it is still there after this long, and given up after three unanswered questions.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(3);

/// A listener for connections.
pub struct Listener {
    door: Door,
    listen: Listen,
}

enum Door {
    Tcp(TcpListener, Option<Arc<ServerTls>>),
    /// With the path it is known by, and how many came.
    Unix {
        socket: UnixListener,
        path: Arc<str>,
        came: u64,
        file: SocketFile,
    },
}

impl Listener {
    /// Listens on `listen`: `tls` is for `tls://`, `socket_mode` for the file of `unix://`.
    ///
    /// Errors: what the system says, or that `listen` cannot be had like this.
    pub fn open(listen: &Listen, tls: Option<&Arc<ServerTls>>, socket_mode: u32) -> io::Result<Self> {
        Ok(match listen {
            Listen::Tcp(address) => {
                let socket = tcp(*address)?;
                let listen = Listen::Tcp(socket.local_addr()?);
                Listener { door: Door::Tcp(socket, None), listen }
            }
            Listen::Tls(address) => {
                let no_keys = "`tls` is missing: `tls: { cert: server.pem, key: server.key }`";
                let tls = tls.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, no_keys))?;
                let socket = tcp(*address)?;
                let listen = Listen::Tls(socket.local_addr()?);
                Listener { door: Door::Tcp(socket, Some(Arc::clone(tls))), listen }
            }
            Listen::Unix(path) => {
                let (socket, file) = SocketFile::bind(path, Type::STREAM, socket_mode)?;
                socket.listen(BACKLOG)?;
                let socket = UnixListener::from_std(socket.into());
                let name = path.display().to_string().into();
                let door = Door::Unix { socket, path: name, came: 0, file };
                Listener { door, listen: listen.clone() }
            }
            Listen::Udp(_) | Listen::Unixgram(_) => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "datagrams are no connections"));
            }
        })
    }

    /// Where it listens: the port that the system chose for port 0.
    pub fn bound(&self) -> &Listen {
        &self.listen
    }

    /// Goes on as `listen`, which is for the same socket; the next connections find the keys of `tls`.
    pub fn change(&mut self, listen: Listen, tls: Option<&Arc<ServerTls>>, socket_mode: u32) {
        match &mut self.door {
            Door::Tcp(_, keys) => *keys = tls.filter(|_| matches!(listen, Listen::Tls(_))).cloned(),
            Door::Unix { file, .. } => file.set_mode(socket_mode),
        }
        self.listen = listen;
    }

    /// The next connection that waits; [`Refusal`] judges the error.
    pub fn accept(&mut self) -> io::Result<Link> {
        match &mut self.door {
            Door::Tcp(socket, tls) => {
                let (socket, peer) = socket.accept()?;
                Link::tcp(socket, peer, tls.as_ref())
            }
            Door::Unix { socket, path, came, .. } => {
                let (socket, _) = socket.accept()?;
                *came += 1;
                Ok(Link::unix(socket, Arc::clone(path), *came))
            }
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match &mut self.door {
            Door::Tcp(socket, _) => socket,
            Door::Unix { socket, .. } => socket,
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

/// A listener for connections. What it accepts is kept alive: options of a listener pass to its connections, which
/// saves three system calls for each.
fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Without it a restart would have to wait until the connections of the last run are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What a failed `accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is waiting.
    Nobody,
    /// That one is gone: try the next.
    Next,
    /// The system is short of something: leave the rest in the backlog for a while.
    Pause,
}

impl Refusal {
    /// Judges the error of an `accept`. accept(2): errors of the network that a connection already had are passed on
    /// by `accept` and only mean that this one is gone.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Refusal::Nobody,
            ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => Refusal::Next,
            _ if matches!(error.raw_os_error(), Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN)) => {
                Refusal::Next
            }
            _ => Refusal::Pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen::cannot_listen;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    #[test]
    fn accepted_connections_are_kept_alive() {
        let listener = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        assert!(socket2::SockRef::from(&accepted).keepalive().unwrap());
        assert_eq!(socket2::SockRef::from(&accepted).tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }

    #[test]
    fn a_port_in_use_is_named_with_its_source() {
        let first = Listener::open(&Listen::parse("tcp://127.0.0.1:0").unwrap(), None, 0).unwrap();
        let error = Listener::open(first.bound(), None, 0).err().unwrap();
        assert_eq!(
            cannot_listen("app", first.bound(), &error).to_string(),
            format!("source app: cannot listen on {}: address in use", first.bound())
        );
    }

    #[test]
    fn processes_of_this_host_are_told_apart_and_count_as_one_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let mut listener = Listener::open(&Listen::Unix(path.clone()), None, 0o600).unwrap();
        assert_eq!(Refusal::of(&listener.accept().err().unwrap()), Refusal::Nobody);
        let mut clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        let mut links = [listener.accept().unwrap(), listener.accept().unwrap()];
        let origins = links.each_ref().map(|link| link.peer().to_string());
        assert_eq!(origins, [1, 2].map(|n| format!("{}#{n}", path.display())));
        assert_eq!(links[0].peer().counted_as(), links[1].peer().counted_as());
        clients[0].write_all(b"hello").unwrap();
        let mut came = [0; 10];
        assert_eq!(links[0].read(&mut came).unwrap(), 5);
        assert_eq!(links[1].read(&mut came).unwrap_err().kind(), ErrorKind::WouldBlock);
        links[0].write_all(b"bye").unwrap();
        links[0].shutdown();
        let mut answer = String::new();
        clients[0].read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "bye");
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_shortage_pauses_accepting() {
        let of = |code| Refusal::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::EAGAIN), Refusal::Nobody);
        assert_eq!((of(libc::ECONNABORTED), of(libc::EPROTO)), (Refusal::Next, Refusal::Next));
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(of(code), Refusal::Pause);
        }
    }
}
