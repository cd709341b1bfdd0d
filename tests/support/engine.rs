//! A container engine that is played: the Docker API over a unix socket, as far as logs need it, and what a real engine
//! does not do when asked to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// One message of a container's log.
#[derive(Clone, Debug)]
pub struct Message {
    pub err: bool,
    /// Nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    pub text: String,
    /// Whether its line ends with it.
    pub ends: bool,
}

/// One container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    pub labels: Vec<(String, String)>,
    pub running: bool,
    pub tty: bool,
    /// The status and the message its log is refused with.
    pub refused: Option<(u16, String)>,
    pub log: Vec<Message>,
}

/// How the engine misbehaves.
#[derive(Default)]
pub struct Faults {
    /// The next answers with a log break off after so many bytes of their bodies.
    pub cuts: VecDeque<usize>,
    /// So many next lists are answered with this status.
    pub list_status: Option<(usize, u16)>,
    /// Lists are not answered at all.
    pub list_silent: bool,
    /// Nobody is told of anything.
    pub no_events: bool,
    /// Times are told in whole seconds, as podman does.
    pub whole_seconds: bool,
}

#[derive(Default)]
struct State {
    containers: Vec<Container>,
    faults: Faults,
    events: Vec<String>,
    /// Goes up when the engine stops: whatever is open ends.
    run: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Answers with logs under way, and the most there were at once.
    logs: AtomicUsize,
    logs_max: AtomicUsize,
    /// Logs that were asked for.
    asked: AtomicUsize,
}

/// The engine. Stopped when dropped.
pub struct Engine {
    pub socket: PathBuf,
    shared: Arc<Shared>,
}

/// 2026-11-28T04:15:46Z.
pub const T0: i64 = 1_795_839_346_000_000_000;

impl Engine {
    /// An engine at `socket`, running.
    pub fn start(socket: &Path) -> Engine {
        let engine = Engine { socket: socket.to_path_buf(), shared: Arc::default() };
        engine.go_on();
        engine
    }

    /// Listens again after [`Engine::stop`].
    pub fn go_on(&self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).expect("the socket can be bound");
        let (shared, run) = (Arc::clone(&self.shared), self.state().run);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.state.lock().expect("not poisoned").run != run {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that goes away is no error.
                    let _ = serve(stream, &shared, run);
                });
            }
        });
    }

    /// Ends everything that is open, and listens no more.
    pub fn stop(&self) {
        self.state().run += 1;
        self.shared.changed.notify_all();
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("not poisoned")
    }

    /// Changes how it misbehaves.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
        self.shared.changed.notify_all();
    }

    /// Makes a container and starts it.
    pub fn add(&self, container: Container) {
        let id = container.id.clone();
        self.state().containers.push(Container { running: true, ..container });
        self.tell(&id, "start");
    }

    /// Makes a container that has ended.
    pub fn add_ended(&self, container: Container) {
        self.state().containers.push(container);
    }

    /// Starts a container again, or ends it.
    pub fn set_running(&self, id: &str, running: bool) {
        self.with(id, |container| container.running = running);
        self.tell(id, if running { "start" } else { "die" });
    }

    /// Forgets a container.
    pub fn remove(&self, id: &str) {
        self.state().containers.retain(|container| container.id != id);
        self.tell(id, "destroy");
    }

    /// Changes a container.
    pub fn with(&self, id: &str, change: impl FnOnce(&mut Container)) {
        let mut state = self.state();
        change(state.containers.iter_mut().find(|container| container.id == id).expect("it was made"));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The container says a line to its output.
    pub fn say(&self, id: &str, time: i64, text: &str) {
        self.message(id, Message { err: false, time, text: text.to_owned(), ends: true });
    }

    pub fn message(&self, id: &str, message: Message) {
        self.with(id, |container| container.log.push(message));
    }

    fn tell(&self, id: &str, action: &str) {
        let mut state = self.state();
        if !state.faults.no_events {
            let event = format!(
                r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{}}}},"time":1}}"#
            );
            state.events.push(event + "\n");
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The most logs that were asked for at once.
    pub fn logs_max(&self) -> usize {
        self.shared.logs_max.load(SeqCst)
    }

    /// How many logs were asked for in all.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: UnixStream, shared: &Shared, run: usize) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", "containers", "json"] => list(&mut stream, shared, query, run),
        ["", "events"] => events(&mut stream, shared, run),
        ["", "containers", id, "logs"] => {
            shared.asked.fetch_add(1, SeqCst);
            shared.logs_max.fetch_max(shared.logs.fetch_add(1, SeqCst) + 1, SeqCst);
            let done = logs(&mut stream, shared, id, query, run);
            shared.logs.fetch_sub(1, SeqCst);
            done
        }
        _ => whole(&mut stream, 404, r#"{"message":"page not found"}"#),
    }
}

fn whole(stream: &mut UnixStream, status: u16, body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn list(stream: &mut UnixStream, shared: &Shared, query: &str, run: usize) -> std::io::Result<()> {
    let mut state = shared.state.lock().expect("not poisoned");
    while state.faults.list_silent && state.run == run {
        state = shared.changed.wait(state).expect("not poisoned");
    }
    if let Some((left, status)) = &mut state.faults.list_status
        && *left > 0
    {
        *left -= 1;
        let status = *status;
        drop(state);
        return whole(stream, status, r#"{"message":"the engine is ill"}"#);
    }
    let wanted = |container: &&Container| !query.contains("filters") || query.contains(&container.id);
    let rows: Vec<serde_json::Value> = state
        .containers
        .iter()
        .filter(wanted)
        .map(|one| {
            let labels: serde_json::Map<_, _> =
                one.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            serde_json::json!({
                "Id": one.id, "Names": [format!("/{}", one.name)], "Image": one.image, "Labels": labels,
                "State": if one.running { "running" } else { "exited" },
            })
        })
        .collect();
    drop(state);
    whole(stream, 200, &serde_json::Value::from(rows).to_string())
}

fn chunk(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    write!(stream, "{:x}\r\n", bytes.len())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn events(stream: &mut UnixStream, shared: &Shared, run: usize) -> std::io::Result<()> {
    let mut state = shared.state.lock().expect("not poisoned");
    let mut told = state.events.len();
    stream.write_all(CHUNKED)?;
    while state.run == run {
        let new: String = state.events[told..].concat();
        told = state.events.len();
        if new.is_empty() {
            state = shared.changed.wait_timeout(state, Duration::from_millis(100)).expect("not poisoned").0;
            continue;
        }
        drop(state);
        chunk(stream, new.as_bytes())?;
        state = shared.state.lock().expect("not poisoned");
    }
    Ok(())
}

fn stamp(time: i64, whole_seconds: bool) -> String {
    let at = jiff::Timestamp::from_nanosecond(time.into()).expect("a time");
    at.strftime(if whole_seconds { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%9fZ" }).to_string()
}

/// The message as it stands in an answer.
fn wire(message: &Message, tty: bool, whole_seconds: bool) -> Vec<u8> {
    let end = match (message.ends, tty) {
        (false, _) => "",
        (true, true) => "\r\n",
        (true, false) => "\n",
    };
    let text = format!("{} {}{end}", stamp(message.time, whole_seconds), message.text).into_bytes();
    if tty {
        return text;
    }
    let mut frame = vec![1 + u8::from(message.err), 0, 0, 0];
    frame.extend_from_slice(&(text.len() as u32).to_be_bytes());
    frame.extend_from_slice(&text);
    frame
}

fn logs(stream: &mut UnixStream, shared: &Shared, id: &str, query: &str, run: usize) -> std::io::Result<()> {
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let since = value("since").map_or(0, |since| since.parse::<i64>().expect("seconds") * 1_000_000_000);
    let follow = value("follow") == Some("1");
    let find = |state: &State| state.containers.iter().find(|one| one.id == id).cloned();
    let mut state = shared.state.lock().expect("not poisoned");
    let Some(container) = find(&state) else {
        drop(state);
        return whole(stream, 404, r#"{"message":"no such container"}"#);
    };
    if let Some((status, says)) = &container.refused {
        drop(state);
        return whole(stream, *status, &serde_json::json!({ "message": says }).to_string());
    }
    let mut left = state.faults.cuts.pop_front();
    stream.write_all(CHUNKED)?;
    let mut next = 0;
    while state.run == run {
        let Some(now) = find(&state) else { break };
        let new: Vec<Message> = now.log[next.min(now.log.len())..].to_vec();
        let whole_seconds = state.faults.whole_seconds;
        next += new.len();
        if new.is_empty() {
            if !follow || !now.running {
                drop(state);
                return stream.write_all(b"0\r\n\r\n");
            }
            state = shared.changed.wait_timeout(state, Duration::from_millis(100)).expect("not poisoned").0;
            // Whoever has gone is not waited for.
            if stream.take_error()?.is_some() {
                return Ok(());
            }
            continue;
        }
        drop(state);
        for message in new.iter().filter(|message| message.time >= since) {
            let bytes = wire(message, now.tty, whole_seconds);
            if let Some(left) = &mut left {
                if bytes.len() > *left {
                    // In the middle of a chunk, a frame, a time or a line.
                    write!(stream, "{:x}\r\n", bytes.len())?;
                    return stream.write_all(&bytes[..*left]);
                }
                *left -= bytes.len();
            }
            chunk(stream, &bytes)?;
        }
        state = shared.state.lock().expect("not poisoned");
    }
    Ok(())
}
