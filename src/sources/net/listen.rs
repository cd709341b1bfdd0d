//! Where a source listens, and opening the sockets for it.

use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// Connections the kernel keeps until we accept them (it may keep fewer, see `net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// A silent peer is asked whether it is still there after this long, and given up after three unanswered questions.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(3);

/// An address to listen on; port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// Connections.
    Tcp(SocketAddr),
    /// Datagrams.
    Udp(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

/// A listener for connections. What it accepts is kept alive: options of a listener pass to its connections, which
/// saves three system calls for each.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Without it a restart would have to wait until the connections of the last run are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A socket for datagrams.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// The error of a source that cannot listen, in the words of its user.
pub fn cannot_listen(source: &str, listen: Listen, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "address in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("source {source}: cannot listen on {listen}: {why}"))
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
    use super::*;
    use std::net::TcpStream;

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
        let first = udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = udp(address).unwrap_err();
        assert_eq!(
            cannot_listen("app", Listen::Udp(address), &error).to_string(),
            format!("source app: cannot listen on udp://{address}: address in use")
        );
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
