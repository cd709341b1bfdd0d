//! A connection: plain TCP, TLS over TCP, or a unix stream; read and written alike.
//!
//! No read or write waits. The handshake of TLS happens in the first reads: until it is over they say `WouldBlock`.
//! Not here: deadlines, and whose turn it is (see `connections`).

use crate::tls::{ServerTls, Session};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::Arc;

/// A connection that was accepted.
pub struct Link {
    wire: Wire,
    peer: Peer,
}

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Session<TcpStream>>),
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A host.
    Host(SocketAddr),
    /// A process of this host: the path it connected to, and the how many-th that is.
    Local(Arc<str>, u64),
}

impl Peer {
    /// What it is counted under for limits per address. IPv6 peers count by their /64, as one host can have all of it;
    /// processes of this host count together, as `None`.
    pub fn counted_as(&self) -> Option<IpAddr> {
        let Peer::Host(address) = self else { return None };
        Some(match address.ip().to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }
}

/// `10.0.0.1:4711`, or `/run/app.sock#3`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Host(address) => address.fmt(f),
            Peer::Local(path, number) => write!(f, "{path}#{number}"),
        }
    }
}

impl Link {
    /// A connection of the host at `peer`; with `tls`, one that begins with a handshake.
    ///
    /// Errors: no randomness for a session.
    pub fn tcp(socket: TcpStream, peer: SocketAddr, tls: Option<&Arc<ServerTls>>) -> io::Result<Self> {
        let wire = match tls {
            Some(tls) => Wire::Tls(Box::new(tls.accept(socket)?)),
            None => Wire::Tcp(socket),
        };
        Ok(Link { wire, peer: Peer::Host(peer) })
    }

    /// The `number`th connection of a process of this host to the socket at `path`.
    pub fn unix(socket: UnixStream, path: Arc<str>, number: u64) -> Self {
        Link { wire: Wire::Unix(socket), peer: Peer::Local(path, number) }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether keys are still being agreed on: nothing can be read or sent before.
    pub fn is_handshaking(&self) -> bool {
        matches!(&self.wire, Wire::Tls(session) if session.is_handshaking())
    }

    /// How many of the costly parts of a handshake happened since this was last asked; a handshake has two or three.
    pub fn take_flights(&mut self) -> u32 {
        match &mut self.wire {
            Wire::Tls(session) => session.take_flights(),
            _ => 0,
        }
    }

    /// Whether something that was written waits until the socket takes it: then `flush` when it is writable.
    pub fn wants_write(&self) -> bool {
        matches!(&self.wire, Wire::Tls(session) if session.wants_write())
    }

    /// Whether the last read stopped before the socket was empty, though it had less to give than was asked for: the
    /// socket will not say so again, so read on. Only with TLS, and after a `WouldBlock` too.
    pub fn has_more(&self) -> bool {
        matches!(&self.wire, Wire::Tls(session) if session.has_more())
    }

    /// Why nothing more can be read, if it is not just the end: what is wrong with the peer's TLS.
    pub fn failure(&self) -> Option<&str> {
        match &self.wire {
            Wire::Tls(session) => session.failure(),
            _ => None,
        }
    }

    /// Tells the peer that nothing more will be sent. Reading goes on.
    pub fn shutdown(&mut self) {
        // Errors mean that it is gone, which is what was wanted.
        let _ = match &mut self.wire {
            Wire::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Wire::Unix(socket) => socket.shutdown(Shutdown::Write),
            Wire::Tls(session) => {
                session.close();
                session.socket().shutdown(Shutdown::Write)
            }
        };
    }

    /// The socket, as mio knows it, and what it needs to be told of beside what its owner wants.
    fn source(&mut self) -> (&mut dyn Source, Option<Interest>) {
        match &mut self.wire {
            Wire::Tcp(socket) => (socket, None),
            Wire::Unix(socket) => (socket, None),
            // Its own messages may have to wait for room.
            Wire::Tls(session) => (session.socket(), Some(Interest::WRITABLE)),
        }
    }
}

impl Read for Link {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.read(room),
            Wire::Unix(socket) => socket.read(room),
            Wire::Tls(session) => session.read(room),
        }
    }
}

impl Write for Link {
    /// As much as can be taken now; `WouldBlock` when that is nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.write(bytes),
            Wire::Unix(socket) => socket.write(bytes),
            // Before the keys are agreed on, nothing of it could be sent.
            Wire::Tls(session) if session.is_handshaking() => Err(ErrorKind::WouldBlock.into()),
            Wire::Tls(session) => session.write(bytes),
        }
    }

    /// Sends what was taken and not sent; `WouldBlock` while the socket does not take all of it.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.flush(),
            Wire::Unix(socket) => socket.flush(),
            Wire::Tls(session) => session.flush(),
        }
    }
}

impl Source for Link {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let (source, more) = self.source();
        source.register(registry, token, more.map_or(interest, |more| interest | more))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        let (source, more) = self.source();
        source.reregister(registry, token, more.map_or(interest, |more| interest | more))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().0.deregister(registry)
    }
}
