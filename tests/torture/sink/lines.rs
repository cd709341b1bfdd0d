//! A destination of lines over TCP, for programs that speak no HTTP.

use crate::check::Receipts;
use crate::entry;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

/// A server on a port of the loopback address; it takes whatever comes, as long as the rig runs.
pub struct Lines {
    port: u16,
    receipts: Arc<Receipts>,
}

impl Lines {
    pub fn start(run: u32) -> Lines {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let receipts = Arc::new(Receipts::default());
        let served = Arc::clone(&receipts);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                thread::spawn(move || {
                    let (mut reader, mut line) = (BufReader::new(connection), Vec::new());
                    // A line without its end is what a killed sender had begun: it is none.
                    while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0)
                        && line.ends_with(b"\n")
                    {
                        served.take(0, &[(entry::read(run, &line), &line)]);
                        line.clear();
                    }
                });
            }
        });
        Lines { port, receipts }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn receipts(&self) -> &Receipts {
        &self.receipts
    }
}
