//! A sender of syslog over UDP: what the kernel drops nobody can promise, but it has to be counted.

use super::{Generators, Plan};
use crate::entry::{Sizes, Stream};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Starts one sender to the address; each entry is a datagram.
pub fn start(plan: &Plan, to: SocketAddr, number: u32, into: &mut Generators) {
    let plan = plan.clone();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let stream = Stream { way: 'u', number };
    let mut next = 0;
    into.start(plan.rate, move |due| {
        for number in next..next + due {
            let text = plan.text(stream, number..number + 1, Sizes::Short, "<13>1 - h a - - - ", "");
            plan.obligations.sent(stream, number..number + 1, text.len());
            let _ = socket.send_to(text.as_bytes(), to);
        }
        next += due;
        due
    });
}
