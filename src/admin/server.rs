//! The loop of the `admin` thread: one poll over the listener and a bounded number of connections.
//!
//! When all places are taken, a new connection gets the place of the one that has been here longest, so that clients that
//! only hold on cannot keep a scrape out, whatever little they send.

use super::Inside;
use super::connection::{Connection, Next};
use super::pages::Pages;
use crate::secret::Secret;
use crate::thread::{Doing, Flag, Row, Wake};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most connections at a time.
pub const CONNECTIONS_MAX: usize = 64;

const LISTENER: Token = Token(CONNECTIONS_MAX);
const WAKER: Token = Token(CONNECTIONS_MAX + 1);
/// How long to wait after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that is bound and not yet served.
pub struct AdminServer {
    poll: Poll,
    listener: TcpListener,
    waker: Arc<Bell>,
    places: Vec<Option<Connection<TcpStream>>>,
    /// Connections that had more to do than one turn allows.
    again: Vec<usize>,
    /// When to accept again after a failure.
    accept_at: Option<Instant>,
    /// What whoever changes something has to show.
    token: Option<Secret>,
}

/// Wakes the server's poll.
struct Bell(Waker);

impl Wake for Bell {
    fn wake(&self) {
        // It fails only when the poll is gone, and then nobody sleeps.
        let _ = self.0.wake();
    }
}

impl AdminServer {
    /// Listens on `address`. Nothing can be changed by a request that does not show `token`; without one, nothing at all.
    ///
    /// Errors: the address is in use, not ours, or not an address.
    pub fn bind(address: impl ToSocketAddrs, token: Option<Secret>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Bell(Waker::new(poll.registry(), WAKER)?));
        let places = (0..CONNECTIONS_MAX).map(|_| None).collect();
        Ok(AdminServer { poll, listener, waker, places, again: Vec::new(), accept_at: None, token })
    }

    /// Where it listens.
    ///
    /// Errors: the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// To be woken with, after raising the flag that ends [`AdminServer::run`].
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    /// Answers requests until `stop` is raised and the waker called; open connections are cut then.
    ///
    /// Errors: the system cannot poll any more.
    pub fn run(mut self, row: &Row, inside: &dyn Inside, stop: &Flag) -> io::Result<()> {
        let mut events = Events::with_capacity(CONNECTIONS_MAX);
        let (token, listen) = (self.token.take(), self.local_addr().ok());
        let pages = Pages { inside, token: token.as_ref(), listen };
        while !stop.is_raised() {
            row.set(Doing::Idle);
            match self.poll.poll(&mut events, self.pause(Instant::now())) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => row.set(Doing::Working),
            }
            self.turn(&events, &pages, Instant::now());
        }
        Ok(())
    }

    /// How long nothing needs to be done unless something happens.
    fn pause(&self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.places.iter().flatten().filter_map(Connection::deadline);
        deadlines.chain(self.accept_at).min().map(|first| first.saturating_duration_since(now))
    }

    fn turn(&mut self, events: &Events, pages: &Pages<'_>, now: Instant) {
        for place in std::mem::take(&mut self.again) {
            self.drive(place, pages, now);
        }
        let mut accept = self.accept_at.is_some_and(|at| at <= now);
        for event in events {
            match event.token() {
                LISTENER => accept = true,
                WAKER => {}
                Token(place) => self.drive(place, pages, now),
            }
        }
        self.look_at_overdue(pages, now);
        if accept {
            self.accept(pages, now);
        }
    }

    fn drive(&mut self, place: usize, pages: &Pages<'_>, now: Instant) {
        let Some(connection) = &mut self.places[place] else { return };
        match connection.drive(now, pages) {
            Next::Wait => {}
            Next::Again => self.again.push(place),
            Next::Close => self.places[place] = None,
        }
    }

    /// Those whose patience ended are answered, if there is somebody to read it, or closed.
    fn look_at_overdue(&mut self, pages: &Pages<'_>, now: Instant) {
        for place in 0..CONNECTIONS_MAX {
            if self.places[place]
                .as_ref()
                .is_some_and(|connection| connection.deadline().is_some_and(|deadline| deadline <= now))
            {
                self.drive(place, pages, now);
            }
        }
    }

    fn accept(&mut self, pages: &Pages<'_>, now: Instant) {
        self.accept_at = None;
        // As many as there are places: a flood of them must not keep those from being answered.
        for _ in 0..CONNECTIONS_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(place) = self.seat(stream, now) {
                        self.drive(place, pages, now);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!("admin: a connection waits to be accepted: {error}");
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.accept_at = Some(now);
    }

    /// Finds a place for a new connection; `None` if the system cannot poll it.
    fn seat(&mut self, mut stream: TcpStream, now: Instant) -> Option<usize> {
        let place = self.free_place()?;
        self.poll
            .registry()
            .register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)
            .ok()?;
        self.places[place] = Some(Connection::new(stream, now));
        Some(place)
    }

    fn free_place(&mut self) -> Option<usize> {
        let free = self.places.iter().position(Option::is_none);
        free.or_else(|| {
            let since = |place: &usize| self.places[*place].as_ref().map(Connection::since);
            (0..CONNECTIONS_MAX).min_by_key(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Phase;
    use super::super::workers::WorkerStats;
    use super::super::{Pulse, Snapshot};
    use super::*;
    use crate::http::{Response, Status};
    use crate::ledger::{Ledger, Named};
    use crate::metrics::Telemetry;
    use crate::tap::{Seen, Wish};
    use crate::thread::Threads;
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread::JoinHandle;

    /// A house with one source, whose worker can be taken away.
    struct House {
        telemetry: Telemetry,
        ledger: Ledger,
        well: AtomicBool,
    }

    impl Inside for House {
        fn snapshot(&self) -> Snapshot {
            let workers =
                WorkerStats { active: 0, idle: u64::from(self.well.load(Relaxed)), ..Default::default() };
            Snapshot { phase: Phase::Running, workers, ..Snapshot::of(&self.ledger, &Pulse::default(), &[]) }
        }

        fn ready(&self) -> Result<(), String> {
            if self.well.load(Relaxed) { Ok(()) } else { Err("no worker".into()) }
        }

        fn tap(&self, _: Wish) -> Result<Seen, String> {
            Err("there is nothing to look at".into())
        }

        fn telemetry(&self) -> &Telemetry {
            &self.telemetry
        }

        fn post(&self, path: &str, body: &[u8]) -> Option<Response> {
            (path == "/say").then(|| Response::text(Status::OK, String::from_utf8_lossy(body).into_owned()))
        }
    }

    struct Running {
        house: Arc<House>,
        address: SocketAddr,
        waker: Arc<dyn Wake>,
        stop: Flag,
        threads: Threads,
        handle: Option<JoinHandle<io::Result<()>>>,
    }

    fn running() -> Running {
        let sources = vec![Named::new("app", "file")];
        let house = Arc::new(House {
            telemetry: Telemetry::new(),
            ledger: Ledger { sources, sinks: Vec::new() },
            well: AtomicBool::new(true),
        });
        let server = AdminServer::bind("127.0.0.1:0", Some(Secret::new("t0ken"))).unwrap();
        let (address, waker) = (server.local_addr().unwrap(), server.waker());
        let (threads, stop) = (Threads::default(), Flag::default());
        let (inside, flag) = (Arc::clone(&house), stop.clone());
        let handle = threads.spawn("admin", &[], move |row| server.run(row, &*inside, &flag)).unwrap();
        Running { house, address, waker, stop, threads, handle: Some(handle) }
    }

    impl Running {
        fn connect(&self) -> Client {
            let client = Client::connect(self.address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client
        }

        /// Sends `bytes` and reads until the server has said everything.
        fn ask(&self, bytes: &[u8]) -> String {
            let mut client = self.connect();
            client.write_all(bytes).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        }

        fn get(&self, path: &str) -> String {
            self.ask(
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
            )
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.stop.raise();
            self.waker.wake();
            assert!(self.handle.take().unwrap().join().unwrap().is_ok());
            assert_eq!(self.threads.rows()[0].doing(), Doing::Ended);
        }
    }

    /// Reads one answer with a body from a connection that stays open.
    fn answer(client: &mut Client) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).unwrap();
        let len =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; len];
        client.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    #[test]
    fn each_page_shows_what_it_should() {
        let server = running();
        server.house.ledger.sources[0].row.received.add(7);
        let metrics = server.get("/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4;"));
        assert!(metrics.contains("\ndispatcher_source_received_total{source=\"app\"} 7\n"));
        let stats = server.get("/stats?pretty");
        let (head, body) = stats.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: application/json"));
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&json["sources"][0]["received"], &json["phase"]), (&7.into(), &"running".into()));
        let index = server.get("/");
        for page in ["/metrics", "/stats", "/threads", "/health", "/ready"] {
            assert!(index.contains(page));
        }
        let missing = server.get("/nothing");
        assert!(missing.starts_with("HTTP/1.1 404 Not Found\r\n") && missing.contains("/stats"));
    }

    #[test]
    fn health_and_readiness_are_in_the_status_and_reasons_in_the_body() {
        let server = running();
        assert!(server.get("/health").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(server.get("/ready").ends_with("\r\n\r\nready\n"));
        server.house.well.store(false, Relaxed);
        let health = server.get("/health");
        assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("\"no worker is left\""), "{health}");
        let ready = server.get("/ready");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("not ready: no worker\n"), "{ready}");
    }

    #[test]
    fn one_connection_carries_many_requests_pipelined_or_not() {
        let server = running();
        let mut client = server.connect();
        for _ in 0..3 {
            client.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            assert!(answer(&mut client).ends_with("ready\n"));
        }
        let two =
            b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(&two.repeat(200)).unwrap();
        for _ in 0..200 {
            assert!(answer(&mut client).ends_with("ready\n"));
            assert!(answer(&mut client).contains("# TYPE"));
        }
    }

    #[test]
    fn bad_requests_are_told_so_and_do_no_harm() {
        let server = running();
        let huge = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 64 << 10]].concat();
        for (bytes, status) in [
            (&b"\x00\x01\x02"[..], "400 Bad Request"),
            (b"GET /\r\n\r\n", "400 Bad Request"),
            (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
            (
                b"POST /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\nwhatever!",
                "405 Method Not Allowed",
            ),
            (b"DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "405 Method Not Allowed"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"),
            (&huge, "431 Request Header Fields Too Large"),
        ] {
            let text = server.ask(bytes);
            assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text:.200}");
        }
        let head = server.ask(b"HEAD /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(server.get("/ready").ends_with("ready\n"));
    }

    #[test]
    fn only_who_shows_the_token_changes_anything() {
        let server = running();
        let post = |path: &str, fields: &str| {
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}");
            let text = server.ask(format!("{head}Content-Length: 5\r\n\r\nhello").as_bytes());
            (text.split(' ').nth(1).unwrap().to_owned(), text)
        };
        let token = "Authorization: Bearer t0ken\r\n";
        assert_eq!(post("/say", "").0, "401");
        assert_eq!(post("/say", "Authorization: Bearer t0kem\r\n").0, "401");
        let (status, text) = post("/say", token);
        assert!(status == "200" && text.ends_with("\r\n\r\nhello"), "{text}");
        assert_eq!((post("/other", token).0, post("/stats", token).0), ("404".into(), "405".into()));
    }

    #[test]
    fn a_site_that_lets_its_name_point_here_is_told_nothing() {
        let server = running();
        let ask = |host: &str| {
            server.ask(format!("GET /stats HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        };
        assert!(ask("evil.example:8401").starts_with("HTTP/1.1 421 Misdirected Request\r\n"));
        assert!(ask("127.0.0.1:1").starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn clients_that_only_hold_on_keep_nobody_out() {
        let server = running();
        let mut holding: Vec<Client> = (0..CONNECTIONS_MAX + 20).map(|_| server.connect()).collect();
        for client in &mut holding {
            // The first ones may have lost their place already.
            let _ = client.write_all(b"GET /metr");
        }
        assert!(server.get("/ready").ends_with("ready\n"));
        // The longest holder went first; the latest still has its place.
        let latest = holding.last_mut().unwrap();
        latest.write_all(b"ics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(answer(latest).contains("# TYPE"));
        assert!(matches!(holding[0].read(&mut [0; 1]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_client_that_does_not_read_its_answers_keeps_nobody_waiting() {
        let server = running();
        let mut greedy = server.connect();
        greedy.set_nonblocking(true).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        // Until both directions are stuffed.
        let sent = std::iter::repeat_with(|| greedy.write(request)).take_while(Result::is_ok).count();
        assert!(sent > 0);
        assert!(server.get("/ready").ends_with("ready\n"));
    }

    #[test]
    fn an_address_in_use_is_told_before_anything_runs() {
        let server = running();
        let error = AdminServer::bind(server.address, None).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
