//! `ringmain top`: its numbers are those of an instance under load, and the terminal is left as it was found.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use rustix::process::WaitOptions;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use support::*;

/// A steady flow, of which every tenth line is taken out; the rest goes two ways.
const CONFIG: &str = "data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\n\
    sources:\n  lines: { type: stdin, pipeline: p, rate_limit: { entries_per_second: 2000 } }\n\
    \x20 net: { type: syslog, listen: [\"tcp://127.0.0.1:0\"] }\n\
    pipelines: { p: [ { discard: 'message =~ \" n=[0-9]*7 \"' } ] }\n\
    sinks: { archive: { type: file, path: out/all.log, format: raw }, nowhere: { type: blackhole } }\n";

fn admin(instance: &mut Instance) -> String {
    instance.address("admin: http", "http://")
}

/// A number as people write it.
fn read_number(text: &str) -> f64 {
    let text = text.trim_end_matches("/s,").trim_end_matches("/s");
    let (digits, by) = match text.strip_suffix('k') {
        Some(thousands) => (thousands, 1e3),
        None => (text, 1.0),
    };
    digits.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {text}")) * by
}

/// The words of the line that begins with `name`.
fn words<'a>(frame: &'a str, name: &str) -> Vec<&'a str> {
    let line = frame.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{frame}")).split_whitespace().collect()
}

#[test]
fn one_frame_has_the_rates_of_an_instance_under_load_as_they_are_recounted() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = admin(&mut instance);
    let (mut stdin, enough) = (instance.stdin(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&enough);
    let writer = std::thread::spawn(move || {
        let mut lines = 0;
        while !stop.load(SeqCst) {
            let some: String = (lines..lines + 100).map(|n| line("s", n, 99) + "\n").collect();
            stdin.write_all(some.as_bytes()).expect("it reads on");
            lines += 100;
        }
    });
    // What may come at once at first is through.
    instance.wait_stats("it has its pace", |stats| number(row(stats, "sources", "lines"), "paced") > 5);
    let counts = |instance: &mut Instance| {
        let stats = instance.stats();
        ["received", "delivered"].map(|key| number(&stats["ledger"], key) as f64)
    };
    let (begun, first) = (Instant::now(), counts(&mut instance));
    let (code, frame, error) = run(dir.path(), &["top", "--once", "--interval", "3s", "--admin", &address]);
    let (seconds, last) = (begun.elapsed().as_secs_f64(), counts(&mut instance));
    enough.store(true, SeqCst);
    writer.join().expect("no panic");
    assert_eq!((code, &*error), (0, ""));
    let text = format!("between {first:?} and {last:?} in {seconds} s:\n{frame}");
    assert!(!frame.contains('\u{1b}'), "nothing but text where nobody looks: {frame:?}");
    assert!(frame.starts_with("ringmain 0.1.0 at 127.0.0.1:") && frame.contains(", healthy\n"), "{text}");

    let close = |what: &str, shown: f64, counted: f64| {
        assert!((shown - counted).abs() <= 0.3 * counted, "{what}: {shown} of {counted}, {text}");
    };
    let [received, delivered] = [0, 1].map(|at| (last[at] - first[at]) / seconds);
    // in 2000/s, 200.0 KB/s   out 3600/s, 356.4 KB/s
    let all = words(&frame, "in");
    let (all_in, all_out) = (read_number(all[1]), read_number(all[5]));
    close("in", all_in, received);
    close("out", all_out, delivered);
    close("bytes", read_number(all[2]) * 1e3, all_in * 99.0);
    // Each source and sink on its own: the rate is the third word of a source, and of a sink with its type.
    close("lines", read_number(words(&frame, "lines")[2]), received);
    assert_eq!(read_number(words(&frame, "net")[2]), 0.0, "{text}");
    let archive = words(&frame, "archive").iter().skip(1).find(|word| **word != "file").unwrap().to_string();
    close("archive", read_number(&archive), 0.9 * received);
    let step = words(&frame, "lines/1");
    close("step", read_number(step[2]), received);
    close("taken out", read_number(step[3]), 0.1 * received);
    for thread in ["worker-0", "reader-lines", "intake", "keeper", "admin"] {
        assert!(frame.contains(thread), "{thread}: {text}");
    }
}

#[test]
fn who_cannot_be_asked_is_said_and_wrong_wishes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, out, error) = run(dir.path(), &["top", "--admin", &nobody]);
    assert_eq!((code, &*out), (3, ""));
    assert!(error.contains("nothing listens on"), "{error}");
    for wrong in [&["top", "--interval", "1ms"][..], &["top", "-n", "0"], &["top", "--once", "-n", "2"]] {
        assert_eq!(run(dir.path(), wrong).0, 2, "{wrong:?}");
    }
}

/// Neither ours to control, nor anybody's who is started meanwhile.
const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

/// A terminal with `ringmain top` on it.
struct Terminal {
    keys: File,
    /// The program's side of it.
    inside: OwnedFd,
    /// As it was before.
    found: Termios,
    shown: Arc<Mutex<String>>,
    more: Receiver<()>,
    child: Own,
}

/// Does not outlive its test, however that ends.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Terminal {
    fn of(address: &str, size: (u16, u16)) -> Terminal {
        let mut terminal = Terminal::unread(address, size);
        let mut screen = terminal.keys.try_clone().expect("a descriptor");
        let (all, (told, more)) = (Arc::clone(&terminal.shown), channel());
        terminal.more = more;
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // It ends with an error, when nobody has the other side any more.
            while let Ok(count @ 1..) = screen.read(&mut some) {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..count]));
                if told.send(()).is_err() {
                    return;
                }
            }
        });
        terminal
    }

    /// One that takes a few thousand bytes, and then stands still.
    fn unread(address: &str, (columns, rows): (u16, u16)) -> Terminal {
        let outside = openpt(FLAGS).expect("a terminal");
        grantpt(&outside).and_then(|()| unlockpt(&outside)).expect("it is ours");
        let inside = ioctl_tiocgptpeer(&outside, FLAGS).expect("its other side");
        resize(&inside, columns, rows);
        let found = tcgetattr(&inside).expect("a terminal");
        let end = || Stdio::from(inside.try_clone().expect("a descriptor"));
        let child = Command::new(binary())
            .args(["top", "--interval", "200ms", "--admin", address])
            .env_remove("NO_COLOR")
            // Ctrl-Z stops all of its group: not us.
            .process_group(0)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the binary starts");
        let (shown, more) = (Arc::default(), channel().1);
        Terminal { keys: File::from(outside), inside, found, shown, more, child: Own(child) }
    }

    /// Waits until `words` were shown, behind what was shown before; gives all that was shown by then.
    fn wait(&mut self, words: &str) -> String {
        let from = self.shown.lock().unwrap().len();
        self.wait_behind(from, words)
    }

    /// The same, behind the first `from` bytes that were shown.
    fn wait_behind(&mut self, from: usize, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown.lock().unwrap().clone();
            if shown.get(from..).is_some_and(|new| new.contains(words)) {
                return shown;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.more.recv_timeout(left).is_ok(), "never {words:?}: {shown:?}");
        }
    }

    /// Waits for its end: its exit code, and the last it showed.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.0.wait().expect("it ran").code();
        // Once nobody has the other side, what was shown is read to its end.
        drop(self.inside);
        while self.more.recv_timeout(PATIENCE).is_ok() {}
        let shown = self.shown.lock().unwrap().clone();
        (code, shown)
    }
}

fn resize(inside: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(inside, size).expect("it has a size");
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it runs");
}

/// Of the last frame, the lines as a person sees them.
fn last_frame(shown: &str) -> Vec<String> {
    let frame = shown.rsplit("\u{1b}[H").nth(1).expect("a whole frame before the last");
    let behind = |part: &str| {
        let text = part.split_once(|letter: char| letter.is_ascii_alphabetic());
        text.map_or("", |(_, text)| text).to_string()
    };
    let strip = |line: &str| {
        let mut parts = line.split("\u{1b}[");
        let first = parts.next().unwrap_or_default().to_string();
        first + &parts.map(behind).collect::<String>()
    };
    // The terminal adds a return of its own.
    frame.split('\n').map(|line| strip(line.trim_end_matches('\r'))).collect()
}

#[test]
fn the_terminal_is_as_it_was_after_q_ctrl_c_and_signals_and_a_frame_fits_it_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = admin(&mut instance);
    for how in ["q", "\u{3}", "TERM", "HUP"] {
        let mut terminal = Terminal::of(&address, (80, 24));
        let before = tcgetattr(&terminal.inside).expect("a terminal");
        assert!(before.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
        terminal.wait("SOURCE");
        terminal.wait("\u{1b}[H");
        let meanwhile = tcgetattr(&terminal.inside).expect("a terminal").local_modes;
        assert!(!meanwhile.intersects(LocalModes::ECHO | LocalModes::ICANON), "keys come one by one");
        let lines = last_frame(&terminal.wait("\u{1b}[H"));
        assert!(lines[0].starts_with("ringmain 0.1.0 at ") && lines.len() <= 24, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        resize(&terminal.inside, 40, 10);
        signal(&terminal.child.0, rustix::process::Signal::WINCH);
        terminal.wait("\u{1b}[H");
        let lines = last_frame(&{
            terminal.wait("\u{1b}[H");
            terminal.wait("\u{1b}[H")
        });
        assert!(lines.len() <= 10 && lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
        match how {
            "TERM" => signal(&terminal.child.0, rustix::process::Signal::TERM),
            "HUP" => signal(&terminal.child.0, rustix::process::Signal::HUP),
            key => terminal.keys.write_all(key.as_bytes()).expect("it has keys"),
        }
        let inside = terminal.inside.try_clone().expect("a descriptor");
        let status = terminal.child.0.wait().expect("it ran");
        assert_eq!(status.code(), Some(0), "{how:?}");
        let after = tcgetattr(&inside).expect("a terminal");
        assert_eq!(
            (after.local_modes, after.input_modes),
            (before.local_modes, before.input_modes),
            "{how:?}"
        );
        drop(inside);
        let (_, shown) = terminal.end();
        assert!(shown.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "another screen, no cursor: {shown:?}");
        assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "both are put back by {how:?}: {shown:?}");
    }
}

/// Waits until it has stopped.
fn wait_stopped(child: &Child) {
    let (pid, deadline) = (rustix::process::Pid::from_child(child), Instant::now() + PATIENCE);
    let look = WaitOptions::UNTRACED | WaitOptions::NOHANG;
    loop {
        if let Some((_, status)) = rustix::process::waitpid(Some(pid), look).expect("it is ours") {
            assert!(status.stopped(), "{status:?}");
            return;
        }
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn ctrl_z_stops_it_with_the_terminal_as_it_was_and_it_takes_its_screen_again_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = admin(&mut instance);
    let (enter, leave) = ("\u{1b}[?1049h\u{1b}[?25l", "\u{1b}[?25h\u{1b}[?1049l");
    let modes = |terminal: &Terminal| tcgetattr(&terminal.inside).expect("a terminal").local_modes;
    let length = |terminal: &Terminal| terminal.shown.lock().unwrap().len();
    for how in ["\u{1a}", "TSTP", "STOP"] {
        let mut terminal = Terminal::of(&address, (80, 24));
        let before = terminal.found.local_modes;
        terminal.wait("SOURCE");
        // The second time is as the first.
        for _ in 0..2 {
            let meanwhile = modes(&terminal);
            assert!(!meanwhile.intersects(LocalModes::ECHO | LocalModes::ICANON), "keys come one by one");
            let mut shown = length(&terminal);
            match how {
                "TSTP" => signal(&terminal.child.0, rustix::process::Signal::TSTP),
                "STOP" => signal(&terminal.child.0, rustix::process::Signal::STOP),
                key => terminal.keys.write_all(key.as_bytes()).expect("it has keys"),
            }
            wait_stopped(&terminal.child.0);
            if how == "STOP" {
                // Nobody can hear that: a shell puts its terminal back itself.
                tcsetattr(&terminal.inside, OptionalActions::Now, &terminal.found).expect("a terminal");
            } else {
                terminal.wait_behind(shown, leave);
                shown = length(&terminal);
            }
            assert_eq!(modes(&terminal), before, "{how:?}");
            signal(&terminal.child.0, rustix::process::Signal::CONT);
            terminal.wait_behind(shown, enter);
            let taken = length(&terminal);
            terminal.wait_behind(taken, "\u{1b}[H");
            assert_eq!(modes(&terminal), meanwhile, "{how:?}");
        }
        terminal.keys.write_all(b"q").expect("it has keys");
        let inside = terminal.inside.try_clone().expect("a descriptor");
        assert_eq!(terminal.child.0.wait().expect("it ran").code(), Some(0), "{how:?}");
        assert_eq!(tcgetattr(&inside).expect("a terminal").local_modes, before, "{how:?}");
        drop(inside);
        assert!(terminal.end().1.ends_with(leave), "{how:?}");
    }
}

#[test]
fn an_instance_that_goes_is_asked_again_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = admin(&mut instance);
    let mut terminal = Terminal::of(&address, (100, 30));
    terminal.wait("healthy");
    instance.kill();
    terminal.wait("gone for");
    let again = CONFIG.replace("127.0.0.1:0\" }\nsources", &format!("{address}\" }}\nsources"));
    let _instance = Instance::start(dir.path(), &again);
    terminal.wait("(began anew once)");
    terminal.keys.write_all(b"q").expect("it has keys");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn a_terminal_that_stands_still_does_not_keep_it_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(dir.path(), CONFIG);
    let mut terminal = Terminal::unread(&admin(&mut instance), (200, 50));
    let before = tcgetattr(&terminal.inside).expect("a terminal");
    let turns = |child: &Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).map(String::from)
    };
    // It asks and draws five times a second, until there is no room any more.
    loop {
        let before = turns(&terminal.child.0);
        std::thread::sleep(std::time::Duration::from_secs(1));
        if turns(&terminal.child.0) == before {
            break;
        }
    }
    signal(&terminal.child.0, rustix::process::Signal::TERM);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = terminal.child.0.try_wait().expect("it ran") {
            break status;
        }
        assert!(Instant::now() < deadline, "it waits for a terminal that takes nothing");
    };
    assert_eq!(status.code(), Some(0));
    let after = tcgetattr(&terminal.inside).expect("a terminal");
    assert_eq!(after.local_modes, before.local_modes);
}
