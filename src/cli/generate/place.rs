//! Where generated entries go.

use crate::sources::net::listen::Listen;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting, and each wait for the other side, may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const BUFFER: usize = 64 << 10;

/// A place as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Stdout,
    File(PathBuf),
    Net {
        to: Listen,
        /// As the text of RFC 5424 messages; over connections octet-counted (RFC 6587).
        syslog: bool,
    },
}

/// A place that is open.
pub(super) enum Out {
    Stream(BufWriter<Box<dyn Write>>),
    Connection { stream: BufWriter<Box<dyn Connection>>, syslog: bool },
    Datagrams { send: Box<dyn Fn(&[u8]) -> io::Result<usize>>, syslog: bool },
}

/// Bytes both ways.
pub(super) trait Connection: Read + Write {
    /// Says that nothing more will be written.
    fn end(&self) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Connection for UnixStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (net, syslog) = match text.strip_prefix("syslog+") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match text {
            "-" => Ok(Place::Stdout),
            _ if syslog || net.contains("://") => match Listen::parse(net)? {
                Listen::Tls(_) => {
                    Err("sending over TLS is not what this is for; expected `tcp://` or `udp://`".into())
                }
                to => Ok(Place::Net { to, syslog }),
            },
            "" => Err("expected `-`, a file, or an address such as `tcp://127.0.0.1:5514`".into()),
            path => Ok(Place::File(path.into())),
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        *self == Place::Stdout
    }

    pub(super) fn open(&self) -> io::Result<Out> {
        let buffered = |out: Box<dyn Write>| Out::Stream(BufWriter::with_capacity(BUFFER, out));
        match self {
            Place::Stdout => Ok(buffered(Box::new(io::stdout()))),
            Place::File(path) => {
                Ok(buffered(Box::new(OpenOptions::new().create(true).append(true).open(path)?)))
            }
            Place::Net { to, syslog } => open(to, *syslog),
        }
    }
}

fn open(to: &Listen, syslog: bool) -> io::Result<Out> {
    let connected = |stream: Box<dyn Connection>| Out::Connection {
        stream: BufWriter::with_capacity(BUFFER, stream),
        syslog,
    };
    Ok(match to {
        Listen::Tcp(address) | Listen::Tls(address) => {
            let stream = TcpStream::connect_timeout(address, TIMEOUT)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            connected(Box::new(stream))
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            connected(Box::new(stream))
        }
        Listen::Udp(address) => {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                SocketAddr::V6(_) => ([0u16; 8], 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            // Connected, so that the refusal of a datagram comes back as an error.
            socket.connect(address)?;
            Out::Datagrams { send: Box::new(move |bytes| socket.send(bytes)), syslog }
        }
        Listen::Unixgram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Out::Datagrams { send: Box::new(move |bytes| socket.send(bytes)), syslog }
        }
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Stdout => f.write_str("standard output"),
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Net { to, syslog } => write!(f, "{}{to}", if *syslog { "syslog+" } else { "" }),
        }
    }
}

impl Out {
    /// Hands over one entry.
    pub(super) fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        match self {
            Out::Stream(out) => line(out, entry),
            Out::Connection { stream, syslog: false } => line(stream, entry),
            Out::Connection { stream, syslog: true } => {
                write!(stream, "{} ", HEAD.len() + entry.len())?;
                stream.write_all(HEAD)?;
                stream.write_all(entry)
            }
            Out::Datagrams { send, syslog: false } => send(entry).map(drop),
            Out::Datagrams { send, syslog: true } => send(&[HEAD, entry].concat()).map(drop),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Stream(out) => out.flush(),
            Out::Connection { stream, .. } => stream.flush(),
            Out::Datagrams { .. } => Ok(()),
        }
    }

    /// Sees to it that all of it is taken: a connection is ended, and the other side's end waited for. A server that
    /// closed early would answer with a reset that nobody sees.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Out::Connection { stream, .. } = self {
            stream.get_ref().end()?;
            while stream.get_mut().read(&mut [0; 256])? > 0 {}
        }
        Ok(())
    }
}

/// Facility user, severity notice, and nothing else said.
const HEAD: &[u8] = b"<13>1 - - gen - - - ";

fn line(out: &mut impl Write, entry: &[u8]) -> io::Result<()> {
    out.write_all(entry)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn places_are_named_as_people_would() {
        assert_eq!(Place::parse("-"), Ok(Place::Stdout));
        assert_eq!(Place::parse("./a.log"), Ok(Place::File("./a.log".into())));
        for text in ["tcp://127.0.0.1:5514", "udp://127.0.0.1:5514", "syslog+udp://127.0.0.1:5514"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "http://127.0.0.1:80", "syslog+127.0.0.1:80", "tcp://nowhere"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn over_tcp_entries_are_lines_or_counted_messages() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (prefix, expected) in [
            ("", "one\ntwo\nlines\n".to_owned()),
            ("syslog+", "23 <13>1 - - gen - - - one29 <13>1 - - gen - - - two\nlines".to_owned()),
        ] {
            let mut out = Place::parse(&format!("{prefix}tcp://{address}")).unwrap().open().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            out.send(b"one").unwrap();
            out.send(b"two\nlines").unwrap();
            out.flush().unwrap();
            if let Out::Connection { stream, .. } = &out {
                stream.get_ref().end().unwrap();
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn over_udp_each_entry_is_a_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut out =
            Place::parse(&format!("udp://{}", socket.local_addr().unwrap())).unwrap().open().unwrap();
        out.send(b"two\nlines").unwrap();
        let mut datagram = [0; 64];
        let len = socket.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..len], b"two\nlines");
    }
}
