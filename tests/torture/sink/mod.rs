//! A destination that does as its script says: an HTTP server for NDJSON and for Loki's pushes, which writes down what it
//! took.

pub mod fault;
pub mod lines;
mod loki;
mod serve;

use crate::check::Receipts;
use fault::{Act, Timeline};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// One request, as far as its timing is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// When its head had come.
    pub at: Instant,
    /// How many entries it had.
    pub entries: usize,
    /// Whether they were taken.
    pub taken: bool,
    /// Whether its answer was said to its end.
    pub answered: bool,
    pub status: u16,
}

struct Inner {
    run: u32,
    timeline: Mutex<Timeline>,
    notes: Mutex<Vec<Note>>,
    receipts: Receipts,
    connections: Mutex<BTreeMap<u64, TcpStream>>,
    ended: AtomicBool,
}

/// A server on a port of the loopback address. Ends, with all its connections, when dropped.
pub struct Sink {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Sink {
    /// Starts one that takes everything.
    pub fn start(run: u32) -> Sink {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::new(Inner {
            run,
            timeline: Mutex::new(Timeline::always(Act::Take)),
            notes: Mutex::default(),
            receipts: Receipts::default(),
            connections: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let served = Arc::clone(&inner);
        thread::spawn(move || {
            for (number, connection) in (0..).zip(listener.incoming().flatten()) {
                if served.ended.load(SeqCst) {
                    return;
                }
                let second = connection.try_clone().expect("cloned");
                served.connections.lock().unwrap().insert(number, second);
                let served = Arc::clone(&served);
                thread::spawn(move || {
                    serve::connection(&served, connection);
                    served.connections.lock().unwrap().remove(&number);
                });
            }
        });
        Sink { address, inner }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn receipts(&self) -> &Receipts {
        &self.inner.receipts
    }

    /// From now on it does as this timeline says, which begins now.
    pub fn set(&self, timeline: Timeline) {
        *self.inner.timeline.lock().unwrap() = timeline;
    }

    /// From now on it does this to all requests.
    pub fn always(&self, act: Act) {
        self.set(Timeline::always(act));
    }

    /// All requests so far.
    pub fn notes(&self) -> Vec<Note> {
        self.inner.notes.lock().unwrap().clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.inner.ended.store(true, SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        for connection in self.inner.connections.lock().unwrap().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
