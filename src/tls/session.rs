//! One connection with TLS over a socket that does not wait.
//!
//! Reading it works like reading the socket: `WouldBlock` when nothing is there, `Ok(0)` at the end. The handshake
//! happens in the first reads. Buffers are bounded: what arrives is opened in the reader's own buffer, and rustls keeps
//! at most the part of a record (16 KiB) that has come, or a handshake message of up to 64 KiB; what is to be sent is
//! kept up to [`SEND_MAX`].

use rustls::{Error, InvalidMessage, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};

/// Most bytes kept for sending: then [`Session::write`] would block.
const SEND_MAX: usize = 64 << 10;
/// Less room than this at the end of a reader's buffer is not worth a system call.
const READ_WORTH: usize = 1 << 10;
/// Most bytes one `read` takes from the socket: a peer may send records with nothing in them for ever.
const READ_MOST: usize = 256 << 10;

/// A server's side of a connection.
pub struct Session<S> {
    socket: S,
    tls: ServerConnection,
    /// Something has come at all.
    began: bool,
    /// Nothing more will be read.
    ended: bool,
    more: bool,
    flights: u32,
    failure: Option<String>,
}

impl<S: Read + Write> Session<S> {
    pub(super) fn new(socket: S, mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(Some(SEND_MAX));
        Session { socket, tls, began: false, ended: false, more: false, flights: 0, failure: None }
    }

    /// The socket below, to be registered and asked about; reading or writing it breaks the session.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether the peer and we are still agreeing on keys.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether something waits until the socket takes it.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether the last `read` stopped before the socket was empty: another may bring more, though the socket will not
    /// say so again. Holds after a `WouldBlock` too.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// How many times keys were computed or certificates judged since this was last asked. That is what a handshake
    /// costs; everything else is like reading.
    pub fn take_flights(&mut self) -> u32 {
        std::mem::take(&mut self.flights)
    }

    /// Why the session cannot go on, if it is the fault of either side: a handshake that failed, a record that was
    /// damaged on its way.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Tells the peer that nothing more will be sent, as far as the socket takes it now.
    pub fn close(&mut self) {
        self.tls.send_close_notify();
        // Whoever does not take it learns it from the end of the connection.
        let _ = self.send();
    }

    /// Sends what waits, until the socket takes no more.
    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the records in `wire`, which is overwritten by what was in them: how many bytes that is.
    fn open(&mut self, wire: &mut [u8]) -> usize {
        let (mut fed, mut opened) = (0, 0);
        while fed < wire.len() && !self.ended {
            match self.tls.read_tls(&mut &wire[fed..]) {
                // What follows the peer's goodbye is not looked at.
                Ok(0) => break,
                Ok(taken) => fed += taken,
                Err(error) => self.fail(error.to_string()),
            }
            self.process();
            // A record is longer than what it holds, so there is always room for what came in before.
            opened += self.take_plain(&mut wire[opened..fed]);
        }
        opened
    }

    /// Lets the session work on what it was fed, and answers.
    fn process(&mut self) {
        let handshaking = self.tls.is_handshaking();
        match self.tls.process_new_packets() {
            Ok(state) => {
                let answers = state.tls_bytes_to_write() > 0;
                self.flights += u32::from(handshaking && (answers || !self.tls.is_handshaking()));
            }
            Err(error) => {
                self.flights += u32::from(handshaking);
                self.fail(explain(&error, handshaking));
            }
        }
        // A broken socket shows in the next read; what was received may still be read.
        let _ = self.send();
    }

    /// What is open already.
    fn take_plain(&mut self, room: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < room.len() {
            match self.tls.reader().read(&mut room[taken..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => taken += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The connection ended without a goodbye, as most senders do.
                Err(_) => {
                    self.ended = true;
                    break;
                }
            }
        }
        taken
    }

    fn fail(&mut self, why: String) {
        self.ended = true;
        self.failure.get_or_insert(why);
    }

    /// The socket has ended.
    fn end(&mut self) {
        // Who connects and leaves without a word only looked whether somebody is there.
        if self.tls.is_handshaking() && self.began {
            self.fail("it left in the middle of the TLS handshake".into());
        }
        self.ended = true;
    }
}

impl<S: Read + Write> Read for Session<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let (mut got, mut wire) = (self.take_plain(room), 0);
        self.more = false;
        // An answer of the handshake may have been too much for the socket.
        let _ = self.send();
        loop {
            let left = room.len() - got;
            if got > 0 && left < READ_WORTH || left == 0 {
                self.more = left == 0 || !self.ended;
                return Ok(got);
            }
            if self.ended {
                // What came before a failure is as good as ever.
                return match &self.failure {
                    Some(why) if got == 0 => Err(io::Error::new(ErrorKind::InvalidData, why.clone())),
                    _ => Ok(got),
                };
            }
            if wire >= READ_MOST {
                self.more = true;
                return if got > 0 { Ok(got) } else { Err(ErrorKind::WouldBlock.into()) };
            }
            match self.socket.read(&mut room[got..]) {
                Ok(0) => self.end(),
                Ok(read) => {
                    (self.began, wire) = (true, wire + read);
                    got += self.open(&mut room[got..got + read]);
                    // A record that was completed may hold more than what completed it.
                    got += self.take_plain(&mut room[got..]);
                    // The socket had less than was asked for: it is empty, or says so with its next event.
                    if read < left && got > 0 {
                        return Ok(got);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return if got > 0 { Ok(got) } else { Err(error) };
                }
                Err(error) => {
                    self.ended = true;
                    return if got > 0 { Ok(got) } else { Err(error) };
                }
            }
        }
    }
}

impl<S: Read + Write> Write for Session<S> {
    /// Takes as much as may be kept, and sends what the socket takes; `WouldBlock` when nothing more may be kept.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = self.tls.writer().write(bytes)?;
        self.send()?;
        if taken == 0 && !bytes.is_empty() {
            taken = self.tls.writer().write(bytes)?;
            self.send()?;
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        Ok(taken)
    }

    /// Sends what is kept; `WouldBlock` while the socket does not take all of it.
    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        if self.tls.wants_write() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

/// The error in the words of whoever has to mend it.
fn explain(error: &Error, handshaking: bool) -> String {
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) if handshaking => "it does not speak TLS".into(),
        Error::NoCertificatesPresented => "it showed no certificate, and `tls.client_ca` asks for one".into(),
        error if handshaking => format!("the TLS handshake failed: {error}"),
        error => format!("TLS: {error}"),
    }
}
