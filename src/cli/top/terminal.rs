//! The terminal: its size, its keys, and that it is left as it was found, whatever ends or stops the program.

use super::frame::Size;
use super::line::Line;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
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
    /// The terminal has another size, or is ours again.
    Changed,
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

/// What is to be put back, once for each time the terminal was taken.
#[derive(Default)]
struct Found(Mutex<Option<Option<Termios>>>);

impl Found {
    /// Takes the keys. Where they are taken already, what was found then stays what is put back.
    fn take_keys(&self) -> io::Result<()> {
        let mut found = self.0.lock();
        let as_now = || stdin().is_terminal().then(|| tcgetattr(stdin()).ok()).flatten();
        if let Some(mut keys) = found.get_or_insert_with(as_now).clone() {
            // Keys come one by one and are not shown; what would be signals are keys as well.
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(stdin(), OptionalActions::Now, &keys)?;
        }
        Ok(())
    }

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
    stops: UnixStream,
    returns: UnixStream,
    has_keys: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// Errors: the system has no descriptors left.
    pub fn take() -> io::Result<Screen> {
        let (ends, resizes) = (hear(&[SIGINT, SIGTERM, SIGHUP])?, hear(&[SIGWINCH])?);
        let (stops, returns) = (hear(&[SIGTSTP])?, hear(&[SIGCONT])?);
        let found = Arc::new(Found::default());
        let (mine, said) = (Arc::clone(&found), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            // First, so that what it says can be read.
            mine.put_back();
            said(info);
        }));
        let screen = Screen { found, ends, resizes, stops, returns, has_keys: stdin().is_terminal() };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the keys, and another screen.
    fn enter(&self) -> io::Result<()> {
        self.found.take_keys()?;
        self.write(ENTER.as_bytes())
    }

    /// Stops with the terminal put back, until it is told to go on.
    fn stop(&mut self) -> io::Result<()> {
        self.found.put_back();
        crate::sys::stop();
        self.enter()
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

    /// Waits for a key, a signal or the time. Stops meanwhile if it is told to.
    pub fn wait(&mut self, until: Instant) -> Woken {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let input = stdin();
            let heard = [&self.ends, &self.stops, &self.returns, &self.resizes];
            let mut all: Vec<_> = heard.iter().map(|heard| PollFd::new(*heard, PollFlags::IN)).collect();
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
            let key = if told.get(4) == Some(&true) { pressed() } else { Key::Other };
            if told[0] || key == Key::Quit {
                return Woken::Quit;
            }
            if key == Key::Stop {
                // As the terminal would have it: all that were started together stop, and so do we, below.
                let _ = kill_current_process_group(Signal::TSTP);
            }
            // As many of each as there were: what counts is how it is now. Who goes on may have been stopped by what nobody
            // hears, and the terminal been another's meanwhile.
            let came = |at: usize, mut heard: &UnixStream| told[at] && heard.read(&mut [0; 64]).is_ok();
            let (stops, returns) = (came(1, &self.stops), came(2, &self.returns));
            let resized = came(3, &self.resizes);
            let taken = match (stops, returns) {
                (true, _) => self.stop(),
                (_, true) => self.enter(),
                _ => Ok(()),
            };
            if taken.is_err() {
                return Woken::Quit;
            }
            if stops || returns || resized {
                return Woken::Changed;
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

/// What a key means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Stop,
    Other,
}

/// What the keys that were pressed mean: that it is enough before anything else.
fn pressed() -> Key {
    const CTRL_C: u8 = 3;
    const CTRL_Z: u8 = 26;
    let mut keys = [0; 64];
    let keys = match stdin().read(&mut keys) {
        // The terminal is gone.
        Ok(0) | Err(_) => return Key::Quit,
        Ok(count) => &keys[..count],
    };
    match () {
        () if keys.iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)) => Key::Quit,
        () if keys.contains(&CTRL_Z) => Key::Stop,
        () => Key::Other,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.found.put_back();
    }
}
