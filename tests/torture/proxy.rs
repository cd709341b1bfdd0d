//! A TCP proxy that breaks things on purpose, between the product and a destination.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a thread of the proxy looks whether something changed.
const LOOK: Duration = Duration::from_millis(5);

/// What is done with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Every piece waits so long in each direction.
    Latency(Duration),
    /// Connections are taken, what they say is never passed on, nothing is answered.
    Blackhole,
    /// What the product sends is passed on, no answer comes back.
    HalfOpen,
    /// New connections are reset, and existing ones when they say something.
    Reset,
    /// Answers are passed on, and then the end of the connection is kept back so long.
    SlowClose(Duration),
    /// Nobody listens; existing connections are reset.
    Down,
}

struct Inner {
    to: SocketAddr,
    mode: Mutex<Mode>,
    connections: AtomicU64,
    ended: AtomicBool,
}

/// A proxy on a port of the loopback address. Ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one that passes everything on to `to`.
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::new(Inner {
            to,
            mode: Mutex::new(Mode::Pass),
            connections: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let served = Arc::clone(&inner);
        let acceptor = thread::spawn(move || accept(&served, address, listener));
        Proxy { address, inner, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn set(&self, mode: Mode) {
        *self.inner.mode.lock().unwrap() = mode;
    }

    /// How many connections came so far.
    pub fn connections(&self) -> u64 {
        self.inner.connections.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.ended.store(true, SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Inner {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn over(&self) -> bool {
        self.ended.load(SeqCst)
    }
}

fn accept(inner: &Arc<Inner>, address: SocketAddr, listener: TcpListener) {
    let mut listener = Some(listener);
    while !inner.over() {
        match (&listener, inner.mode()) {
            (Some(_), Mode::Down) => listener = None,
            (None, Mode::Down) => {}
            // `bind` lets it have the address again at once.
            (None, _) => listener = TcpListener::bind(address).ok(),
            (Some(open), mode) => {
                open.set_nonblocking(true).expect("set");
                if let Ok((connection, _)) = open.accept() {
                    connection.set_nonblocking(false).expect("set");
                    inner.connections.fetch_add(1, SeqCst);
                    if mode == Mode::Reset {
                        reset(&connection);
                        continue;
                    }
                    let inner = Arc::clone(inner);
                    thread::spawn(move || carry(&inner, connection));
                    continue;
                }
            }
        }
        thread::sleep(LOOK);
    }
}

fn carry(inner: &Arc<Inner>, near: TcpStream) {
    // What is swallowed needs no other end.
    while inner.mode() == Mode::Blackhole && !inner.over() {
        thread::sleep(LOOK);
    }
    let Ok(far) = TcpStream::connect(inner.to) else { return reset(&near) };
    let broken = Arc::new(AtomicBool::new(false));
    let (near2, far2) = (near.try_clone().expect("cloned"), far.try_clone().expect("cloned"));
    let back = {
        let (inner, broken) = (Arc::clone(inner), Arc::clone(&broken));
        thread::spawn(move || pump(&inner, far2, near2, true, &broken))
    };
    pump(inner, near, far, false, &broken);
    let _ = back.join();
}

/// Carries bytes in one direction until either side ends or the mode forbids it.
fn pump(inner: &Inner, mut from: TcpStream, mut to: TcpStream, answers: bool, broken: &AtomicBool) {
    from.set_read_timeout(Some(LOOK)).expect("set");
    let mut buffer = [0; 16 << 10];
    loop {
        let mode = inner.mode();
        if inner.over() || broken.load(SeqCst) {
            return both_reset(&from, &to);
        }
        match mode {
            Mode::Down => {
                broken.store(true, SeqCst);
                continue;
            }
            Mode::Blackhole => {
                thread::sleep(LOOK);
                continue;
            }
            Mode::HalfOpen if answers => {
                thread::sleep(LOOK);
                continue;
            }
            _ => {}
        }
        match from.read(&mut buffer) {
            Ok(0) => {
                if let Mode::SlowClose(wait) = mode {
                    pause(inner, wait);
                }
                let _ = to.shutdown(std::net::Shutdown::Write);
                return;
            }
            Ok(len) => {
                match mode {
                    Mode::Reset => {
                        broken.store(true, SeqCst);
                        continue;
                    }
                    Mode::Latency(wait) => pause(inner, wait),
                    _ => {}
                }
                if to.write_all(&buffer[..len]).is_err() {
                    broken.store(true, SeqCst);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => broken.store(true, SeqCst),
        }
    }
}

fn pause(inner: &Inner, wait: Duration) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !inner.over() {
        thread::sleep(until.saturating_duration_since(Instant::now()).min(LOOK));
    }
}

fn both_reset(one: &TcpStream, other: &TcpStream) {
    reset(one);
    reset(other);
}

/// When the last handle is closed, the other side sees a reset instead of an end.
fn reset(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}
