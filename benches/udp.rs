//! How many datagrams of 250 bytes a second come in over UDP, and what does one cost? Sent as a card that merges hands them
//! over (GSO: one call of the sender, 60 datagrams), and one by one.
//!
//! The bound is the same socket, read by the same `recvmmsg` in a plain loop that only adds up lengths. What the kernel
//! drops is shown: a flood has no other end.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

use ringmain::config::Config;
use ringmain::engine::Engine;
use ringmain::sys::{self, Receiver};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

const DATAGRAM: usize = 250;
/// Datagrams of one call of the sender.
const MERGED: usize = 60;
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// What came of a flood.
struct Flood {
    received: u64,
    sent: u64,
    /// Of everything but the sender.
    cpu: Duration,
    wall: Duration,
}

fn main() {
    println!("{DATAGRAM} bytes; received a second, CPU for each, and the share that was dropped");
    for merged in [MERGED, 1] {
        let way = if merged > 1 { "merged" } else { "one by one" };
        for round in 0..ROUNDS {
            show(&format!("udp/{way}/bound"), &bound(merged), round);
            show(&format!("udp/{way}/source to blackhole"), &engine(merged), round);
        }
    }
}

fn show(name: &str, flood: &Flood, round: usize) {
    let Flood { received, sent, cpu, wall } = flood;
    println!(
        "{name:<36} round {round}: {:>10.0}/s {:>6.0} ns {:>5.1} %",
        *received as f64 / wall.as_secs_f64(),
        cpu.as_nanos() as f64 / (*received).max(1) as f64,
        100.0 * (1.0 - *received as f64 / (*sent).max(1) as f64)
    );
}

/// Sends to `to` until told to end: how many, and the CPU time it took.
fn flood(to: SocketAddr, merged: usize, end: &AtomicBool) -> (u64, Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(to).expect("connected");
    if merged > 1 {
        cut_into(&socket, DATAGRAM);
    }
    let bytes: Vec<u8> = (0..DATAGRAM * merged).map(|n| b'a' + (n % 23) as u8).collect();
    let (before, mut sent) = (sys::thread_cpu(), 0);
    // Relaxed: nothing but the end itself is told.
    while !end.load(Relaxed) {
        sent += if socket.send(&bytes).is_ok() { merged as u64 } else { 0 };
    }
    (sent, sys::thread_cpu() - before)
}

/// UDP_SEGMENT (udp(7)): what is sent at once leaves as datagrams of `size` bytes.
#[allow(unsafe_code)]
fn cut_into(socket: &UdpSocket, size: usize) {
    let size = size as libc::c_int;
    // SAFETY: the kernel reads the four bytes of the number that is given, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(done, 0, "Linux can since 4.18");
}

/// A flood that lasts as long as `receive`, which says how many it received.
fn during(to: SocketAddr, merged: usize, receive: impl FnOnce() -> u64) -> Flood {
    let end = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&end);
    let (cpu, wall) = (sys::process_cpu(), Instant::now());
    let sender = thread::spawn(move || flood(to, merged, &told));
    let received = receive();
    let wall = wall.elapsed();
    // Relaxed: see `flood`.
    end.store(true, Relaxed);
    let (sent, sender) = sender.join().expect("it ended well");
    Flood { received, sent, cpu: (sys::process_cpu() - cpu).saturating_sub(sender), wall }
}

/// Waits until there is something to receive, or for a moment: spinning would be counted as work.
#[allow(unsafe_code)]
fn wait(socket: &UdpSocket) {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the kernel reads and writes the one entry that is given, which lives until the call returns.
    unsafe { libc::poll(&mut asked, 1, 20) };
}

fn bound(merged: usize) -> Flood {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    sys::set_receive_buffer(socket.as_fd(), 4 << 20).expect("a buffer");
    sys::receive_merged(socket.as_fd()).expect("Linux can since 5.0");
    let mut receiver = Receiver::new().expect("address space");
    during(socket.local_addr().expect("bound"), merged, || {
        let (start, mut count, mut bytes) = (Instant::now(), 0, 0);
        while start.elapsed() < TIME {
            if receiver.receive(socket.as_fd()).is_err() {
                wait(&socket);
                continue;
            }
            count += receiver.len() as u64;
            bytes +=
                (0..receiver.len()).filter_map(|at| Some(receiver.datagram(at)?.bytes.len())).sum::<usize>();
        }
        assert_eq!(bytes as u64, count * DATAGRAM as u64);
        count
    })
}

fn engine(merged: usize) -> Flood {
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!(
        "data_dir: {}\nadmin: {{ listen: off }}\n\
         sources: {{ net: {{ type: socket, listen: [\"udp://127.0.0.1:0\"] }} }}\n\
         sinks: {{ out: {{ type: blackhole }} }}\n",
        dir.path().display()
    );
    let config = Config::parse("bench", &config, &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let engine = Engine::start(config).unwrap_or_else(|error| panic!("{error}"));
    let described = engine.describe();
    let address = described.iter().find_map(|line| line.split_once("udp://")).expect("it listens").1;
    let end = address.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':');
    let to = address[..end.unwrap_or(address.len())].parse().expect("an address");
    let flood = during(to, merged, || {
        thread::sleep(TIME);
        engine.ledger().sources[0].row.received.get()
    });
    engine.stop(Instant::now() + Duration::from_secs(30));
    flood
}
