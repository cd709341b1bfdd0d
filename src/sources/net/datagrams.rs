//! A socket whose datagrams are entries: one each, or one for each of their lines.
//!
//! All senders of one socket are one stream, as the kernel's queue is what gives them an order at all; a stream per
//! sender would let anyone who forges addresses make as many streams as there are addresses.
//! UDP cannot be asked to wait. While the house is full the kernel's buffer fills and then drops, and says how many:
//! that is reported beside the ledger, as those entries were never received. Faster than a rate limit allows they are
//! received and dropped, counted. Unix sockets drop nothing: there the senders wait.

use super::filler::Filler;
use super::listen::Listen;
use super::settings::{Datagram, Settings};
use super::socket_file::SocketFile;
use crate::entry::Entry;
use crate::labels::Stream;
use crate::logs::Quiet;
use crate::sys::{self, Receiver};
use memchr::memchr;
use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

/// Most system calls for one socket in a turn.
const CALLS: usize = 4;

/// One socket.
pub struct Datagrams {
    socket: Door,
    bound: Listen,
    receiver: Receiver,
    /// The next datagram of the receiver to be put into a block, and how much of it is.
    next: usize,
    at: usize,
    stream: Arc<Stream>,
    holds: Datagram,
    max_message: usize,
    /// There may be datagrams at the socket.
    ready: bool,
    /// The last batch was a full one: the kernel's buffer may have been, too.
    pressed: bool,
    /// What the kernel said last.
    drops: u32,
    granted: usize,
    dropped: Quiet,
}

enum Door {
    Udp(UdpSocket),
    Unix(UnixDatagram, SocketFile),
}

impl Door {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Door::Udp(socket) => socket.as_fd(),
            Door::Unix(socket, _) => socket.as_fd(),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Door::Udp(socket) => socket,
            Door::Unix(socket, _) => socket,
        }
    }
}

impl Datagrams {
    /// Listens on `listen`, with the settings for such sockets. `stream` makes the stream, from the address that was
    /// bound.
    ///
    /// Errors: what the system says.
    pub fn bind(
        listen: &Listen,
        settings: &Settings,
        stream: impl FnOnce(&Listen) -> Arc<Stream>,
    ) -> io::Result<Self> {
        let (socket, bound, granted) = match listen {
            Listen::Udp(address) => {
                let socket = udp(*address)?;
                let granted = sys::set_receive_buffer(socket.as_fd(), settings.receive_buffer)?;
                sys::count_drops(socket.as_fd())?;
                // Where the kernel cannot, they come one by one.
                let _ = sys::receive_merged(socket.as_fd());
                let bound = Listen::Udp(socket.local_addr()?);
                (Door::Udp(socket), bound, granted)
            }
            Listen::Unixgram(path) => {
                let (socket, file) = SocketFile::bind(path, Type::DGRAM, settings.socket_mode)?;
                // What waits there is charged to its senders, not to a buffer of ours.
                let granted = settings.receive_buffer;
                (Door::Unix(UnixDatagram::from_std(socket.into()), file), listen.clone(), granted)
            }
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, "connections are no datagrams")),
        };
        let stream = stream(&bound);
        if granted < settings.receive_buffer {
            tracing::warn!(
                "source {}: {} asked for a receive buffer of {} bytes and got {granted}: bursts may be \
                 dropped; net.core.rmem_max is the limit",
                stream.source_name,
                stream.origin,
                settings.receive_buffer
            );
        }
        Ok(Datagrams {
            socket,
            bound,
            receiver: Receiver::new()?,
            next: 0,
            at: 0,
            stream,
            holds: settings.datagrams,
            max_message: settings.max_message,
            // Something may have come between bind and the first look.
            ready: true,
            pressed: false,
            drops: 0,
            granted,
            dropped: Quiet::default(),
        })
    }

    /// Where it listens: the port that the system chose for port 0.
    pub fn bound(&self) -> &Listen {
        &self.bound
    }

    /// Goes on under other settings, as another stream.
    pub fn change(&mut self, settings: &Settings, stream: Arc<Stream>) {
        match &self.socket {
            Door::Udp(socket) => match sys::set_receive_buffer(socket.as_fd(), settings.receive_buffer) {
                Ok(granted) => self.granted = granted,
                Err(error) => tracing::warn!("{}: the receive buffer stays as it was: {error}", self.bound),
            },
            Door::Unix(_, file) => file.set_mode(settings.socket_mode),
        }
        (self.stream, self.holds, self.max_message) = (stream, settings.datagrams, settings.max_message);
    }

    /// There is something at the socket.
    pub fn notice(&mut self) {
        self.ready = true;
    }

    /// Receives no more: what has been received is all.
    pub fn stop(&mut self) {
        self.ready = false;
    }

    /// Whether there may be something to do.
    pub fn is_ready(&self) -> bool {
        self.ready || self.is_waiting()
    }

    fn is_waiting(&self) -> bool {
        self.next < self.receiver.len()
    }

    /// How many entries were received and have no place in a block yet.
    pub fn waiting(&self) -> usize {
        let mut at = self.at;
        let mut entries = 0;
        for next in self.next..self.receiver.len() {
            let Some(datagram) = self.receiver.datagram(next) else { break };
            let whole = without_end(datagram.bytes);
            while at < whole.len() {
                entries += usize::from(!self.holds.message(whole, &mut at).is_empty());
            }
            at = 0;
        }
        entries
    }

    /// Puts what has come into the open block, a few hundred datagrams at most. False: there was no room for all.
    pub fn pump(&mut self, filler: &mut Filler, now: Instant) -> bool {
        for _ in 0..CALLS {
            if !self.place(filler, now) {
                return false;
            }
            if !self.ready {
                break;
            }
            self.receive(filler, now);
        }
        self.place(filler, now)
    }

    /// Receives what has come, and drops it, counted: it comes faster than it may, and UDP cannot be asked to wait. Where
    /// senders wait, they do.
    pub fn shed(&mut self, filler: &mut Filler, now: Instant) {
        if !self.is_udp() {
            return;
        }
        for _ in 0..CALLS {
            filler.drop_for_rate(self.waiting());
            (self.next, self.at) = (self.receiver.len(), 0);
            if !self.ready {
                return;
            }
            self.receive(filler, now);
        }
    }

    /// Whether nobody waits for what is received here.
    pub fn is_udp(&self) -> bool {
        matches!(self.socket, Door::Udp(_))
    }

    fn receive(&mut self, filler: &mut Filler, now: Instant) {
        (self.next, self.at) = (0, 0);
        match self.receiver.receive(self.socket.fd()) {
            Ok(true) => self.pressed = true,
            Ok(false) => self.ready = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.ready = false;
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::debug!("{}: {error}", self.stream.origin);
                }
            }
        }
        let mut drops = self.receiver.drops();
        if !self.ready && std::mem::take(&mut self.pressed) {
            // A burst that was too large loses its end, behind which no datagram may come for long to say so.
            drops = sys::drops(self.socket.fd()).ok().or(drops);
        }
        if let Some(drops) = drops {
            self.count_drops(drops, filler, now);
        }
    }

    /// The kernel has thrown away `drops` datagrams in all.
    fn count_drops(&mut self, drops: u32, filler: &Filler, now: Instant) {
        // The counter wraps; and what comes with datagrams may be older than what was asked for, never by half a turn.
        let more = drops.wrapping_sub(self.drops);
        if more == 0 || more > u32::MAX / 2 {
            return;
        }
        self.drops = drops;
        filler.ledger().kernel_drops.add(u64::from(more));
        if self.dropped.may_speak(now).is_some() {
            tracing::warn!(
                "source {}: the kernel dropped datagrams at {}, {drops} so far: its buffer of {} bytes was full",
                self.stream.source_name,
                self.stream.origin,
                self.granted
            );
        }
    }

    fn place(&mut self, filler: &mut Filler, now: Instant) -> bool {
        let mut cut = 0;
        'datagrams: while let Some(datagram) = self.receiver.datagram(self.next) {
            let whole = without_end(datagram.bytes);
            while self.at < whole.len() {
                let mut end = self.at;
                let message = self.holds.message(whole, &mut end);
                let kept = &message[..message.len().min(self.max_message)];
                if !kept.is_empty() {
                    let Some(block) = filler.room(kept.len() + 1, now) else { break 'datagrams };
                    let is_cut = kept.len() < message.len() || datagram.cut && end == whole.len();
                    if let Some(at) = block.append(kept) {
                        block.append(b"\n");
                        block.begin_run(&self.stream);
                        let flags = self.holds.newlines(kept) | if is_cut { Entry::CUT } else { 0 };
                        block.push(Entry { flags, ..Entry::at(at, kept.len() as u32) });
                    }
                    cut += u64::from(is_cut);
                }
                self.at = end;
            }
            (self.next, self.at) = (self.next + 1, 0);
        }
        filler.ledger().cut.add(cut);
        !self.is_waiting()
    }
}

impl Datagram {
    /// The flag of a message with newlines of its sender's; there are none in a line.
    fn newlines(self, message: &[u8]) -> u8 {
        match self {
            Datagram::Message => Entry::newlines(message),
            Datagram::Lines => 0,
        }
    }

    /// The message of `whole` at `at`, which moves behind it.
    fn message<'a>(self, whole: &'a [u8], at: &mut usize) -> &'a [u8] {
        let rest = &whole[*at..];
        let end = match self {
            Datagram::Message => None,
            Datagram::Lines => memchr(b'\n', rest),
        };
        let Some(end) = end else {
            *at = whole.len();
            return rest;
        };
        *at += end + 1;
        let line = &rest[..end];
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl Source for Datagrams {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.source().register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.source().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.source().deregister(registry)
    }
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// The datagram without the newlines and NULs that senders put behind their message.
fn without_end(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = match bytes {
            [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n' | 0] => rest,
            done => return done,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_and_nuls_are_taken_off_the_end() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"a", b"a"),
            (b"a\n", b"a"),
            (b"a\r\n\0", b"a"),
            (b"a \r", b"a \r"),
            (b"\na\0b\n\0\n", b"\na\0b"),
            (b"\n\0", b""),
        ];
        for (given, kept) in cases {
            assert_eq!(without_end(given), kept);
        }
    }

    #[test]
    fn a_datagram_is_one_message_or_as_many_as_it_has_lines() {
        let all = |holds: Datagram, whole: &'static [u8]| {
            let (mut at, mut found) = (0, Vec::new());
            while at < whole.len() {
                found.push(holds.message(whole, &mut at));
            }
            found
        };
        assert_eq!(all(Datagram::Message, b"a\r\nb\n\nc"), [b"a\r\nb\n\nc"]);
        assert_eq!(all(Datagram::Lines, b"a\r\nb\n\nc"), [&b"a"[..], b"b", b"", b"c"]);
        assert_eq!(all(Datagram::Lines, b"a\r"), [b"a\r"]);
    }
}
