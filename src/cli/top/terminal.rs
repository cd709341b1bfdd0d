//! The terminal: its size, its keys, and that it is left as it was found, whatever ends the program.

use super::frame::Size;
use super::line::Line;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io::{self, IsTerminal, Read, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

/// Another screen, without a cursor, on which lines that are too long do not go on in the next.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// What was there before.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A terminal that says it has room takes this much without waiting.
const ROOM: usize = 256;
/// Where nobody says otherwise.
const WIDTH: usize = 80;
const HEIGHT: usize = 24;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is time.
    Due,
    /// The terminal has another size.
    Resized,
    /// Enough: a key, or a signal.
    Quit,
}

/// Whether lines are painted.
pub fn wants_colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How much room there is: as standard output says if it is a terminal. In a file, or where frames are to be read one
/// below the other, there is no end to the height.
pub fn size(is_screen: bool) -> Size {
    let told = tcgetwinsize(stdout()).ok().filter(|_| stdout().is_terminal());
    let (width, height) = told.map_or((0, 0), |told| (told.ws_col.into(), told.ws_row.into()));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    let width = if width > 0 { width } else { columns().unwrap_or(WIDTH) };
    Size { width, height: is_screen.then_some(if height > 0 { height } else { HEIGHT }) }
}

/// What is to be put back, once.
#[derive(Default)]
struct Found(Mutex<Option<Option<Termios>>>);

impl Found {
    fn put_back(&self) {
        let Some(modes) = self.0.lock().take() else { return };
        let (out, moment) = (stdout(), Timespec { tv_sec: 0, tv_nsec: 200_000_000 });
        // Nothing can be said to a terminal that is gone, or that was told to stand still.
        if poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&moment)).is_ok_and(|ready| ready > 0) {
            let _ = rustix::io::write(&out, LEAVE.as_bytes());
        }
        if let Some(modes) = modes {
            // Not when all is shown, which may be never; what was typed is not the shell's.
            let _ = tcflush(stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
        }
    }
}

/// A screen of our own on the terminal, until it is dropped.
pub struct Screen {
    found: Arc<Found>,
    ends: UnixStream,
    resizes: UnixStream,
    has_keys: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// Errors: the system has no descriptors left.
    pub fn take() -> io::Result<Screen> {
        let (ends, resizes) = (hear(&[SIGINT, SIGTERM, SIGHUP])?, hear(&[SIGWINCH])?);
        let found = Arc::new(Found::default());
        let modes = stdin().is_terminal().then(|| tcgetattr(stdin()).ok()).flatten();
        let has_keys = modes.is_some();
        if let Some(mut keys) = modes.clone() {
            // Keys come one by one and are not shown; what would be signals are keys as well.
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(stdin(), OptionalActions::Now, &keys)?;
        }
        *found.0.lock() = Some(modes);
        let (mine, said) = (Arc::clone(&found), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            // First, so that what it says can be read.
            mine.put_back();
            said(info);
        }));
        let screen = Screen { found, ends, resizes, has_keys };
        screen.write(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Shows the lines in place of those before.
    ///
    /// Errors: the terminal is gone.
    pub fn show(&self, lines: &[Line], colour: bool) -> io::Result<()> {
        let mut out = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            out.push_str(if at > 0 { "\r\n" } else { "" });
            out.push_str(&line.paint(colour));
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J");
        self.write(out.as_bytes())
    }

    /// Writes as the terminal takes it. One that stands still (Ctrl-S, a connection that hangs) holds up the writer, but not
    /// a signal that ends it: then the rest is not written.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let (out, mut left) = (stdout(), bytes);
        while !left.is_empty() {
            let mut all = [PollFd::new(&out, PollFlags::OUT), PollFd::new(&self.ends, PollFlags::IN)];
            match poll(&mut all, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !all[1].revents().is_empty() {
                return Ok(());
            }
            let written = rustix::io::write(&out, &left[..left.len().min(ROOM)])?;
            left = &left[written..];
        }
        Ok(())
    }

    /// Waits for a key, a signal or the time.
    pub fn wait(&mut self, until: Instant) -> Woken {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let input = stdin();
            let mut all =
                vec![PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.resizes, PollFlags::IN)];
            if self.has_keys {
                all.push(PollFd::new(&input, PollFlags::IN));
            }
            match poll(&mut all, Some(&timeout)) {
                Ok(0) => return Woken::Due,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Woken::Quit,
            }
            let told: Vec<bool> = all.iter().map(|one| !one.revents().is_empty()).collect();
            drop(all);
            if told[0] || (told.get(2) == Some(&true) && quits()) {
                return Woken::Quit;
            }
            if told[1] {
                // As many as there were: the size is what it is now.
                let _ = self.resizes.read(&mut [0; 64]);
                return Woken::Resized;
            }
        }
    }
}

/// Where a byte arrives for each of these signals, instead of what they did before.
fn hear(signals: &[i32]) -> io::Result<UnixStream> {
    let (heard, told) = UnixStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, told.try_clone()?)?;
    }
    Ok(heard)
}

/// Whether one of the keys that were pressed means that it is enough.
fn quits() -> bool {
    const CTRL_C: u8 = 3;
    let mut keys = [0; 64];
    match stdin().read(&mut keys) {
        // The terminal is gone.
        Ok(0) | Err(_) => true,
        Ok(count) => keys[..count].iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)),
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.found.put_back();
    }
}
