//! A UDP socket whose datagrams are entries, one each.
//!
//! All senders of one socket are one stream, as the kernel's queue is what gives them an order at all; a stream per
//! sender would let anyone who forges addresses make as many streams as there are addresses.
//! UDP cannot be asked to wait. While the house is full the kernel's buffer fills and then drops, and says how many:
//! that is reported beside the ledger, as those entries were never received.

use super::filler::Filler;
use super::listen::{self, Listen};
use super::quiet::Quiet;
use crate::entry::Entry;
use crate::labels::Stream;
use crate::sys::{self, BATCH, Receiver};
use mio::net::UdpSocket;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// Most system calls for one socket in a turn.
const CALLS: usize = 4;

/// One UDP socket.
pub struct Datagrams {
    socket: UdpSocket,
    receiver: Receiver,
    /// The next datagram of the receiver to be put into a block.
    next: usize,
    stream: Arc<Stream>,
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

impl Datagrams {
    /// Listens on `address` and asks for a receive buffer of `buffer` bytes. `stream` makes the stream, from the
    /// address that was bound.
    ///
    /// Errors: what the system says.
    pub fn bind(
        address: SocketAddr,
        buffer: usize,
        max_message: usize,
        stream: impl FnOnce(Listen) -> Arc<Stream>,
    ) -> io::Result<Self> {
        let socket = listen::udp(address)?;
        let granted = sys::set_receive_buffer(socket.as_fd(), buffer)?;
        sys::count_drops(socket.as_fd())?;
        let stream = stream(Listen::Udp(socket.local_addr()?));
        if granted < buffer {
            tracing::warn!(
                "source {}: {} asked for a receive buffer of {buffer} bytes and got {granted}: bursts may be \
                 dropped; net.core.rmem_max is the limit",
                stream.source_name,
                stream.origin
            );
        }
        Ok(Datagrams {
            socket,
            receiver: Receiver::new()?,
            next: 0,
            stream,
            max_message,
            // Something may have come between bind and the first look.
            ready: true,
            pressed: false,
            drops: 0,
            granted,
            dropped: Quiet::default(),
        })
    }

    /// The socket, to be registered.
    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
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
        self.ready || self.waiting() > 0
    }

    /// How many datagrams were received and have no place in a block yet.
    pub fn waiting(&self) -> usize {
        self.receiver.len() - self.next
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

    fn receive(&mut self, filler: &mut Filler, now: Instant) {
        self.next = 0;
        match self.receiver.receive(self.socket.as_fd()) {
            Ok(BATCH) => self.pressed = true,
            Ok(_) => self.ready = false,
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
            drops = sys::drops(self.socket.as_fd()).ok().or(drops);
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
        while let Some(datagram) = self.receiver.datagram(self.next) {
            let whole = without_end(datagram.bytes);
            let kept = &whole[..whole.len().min(self.max_message)];
            if !kept.is_empty() {
                let Some(block) = filler.room(kept.len() + 1, now) else { break };
                let is_cut = datagram.cut || kept.len() < whole.len();
                if let Some(at) = block.append(kept) {
                    block.append(b"\n");
                    block.begin_run(&self.stream);
                    let flags = Entry::newlines(kept) | if is_cut { Entry::CUT } else { 0 };
                    block.push(Entry { flags, ..Entry::at(at, kept.len() as u32) });
                }
                cut += u64::from(is_cut);
            }
            self.next += 1;
        }
        filler.ledger().cut.add(cut);
        self.waiting() == 0
    }
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
}
