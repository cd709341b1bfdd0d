//! `ringmain send`: a first message without any other program.
//!
//! Messages are RFC 5424; over TCP they are octet-counted (RFC 6587), over UDP each is one datagram (RFC 5426).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::{exit, fail, print};
use crate::sources::net::listen::Listen;

/// What to send where.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Where a syslog source listens
    #[arg(long, value_name = "ADDRESS", default_value = "tcp://127.0.0.1:5514", value_parser = destination)]
    to: Listen,
    /// How many times; from 2 on, each message ends with its number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The application it claims to be from
    #[arg(long, value_name = "NAME", default_value = "ringmain", value_parser = app_name)]
    app: String,
    /// The message; several words are joined with spaces
    #[arg(required = true, value_name = "MESSAGE")]
    message: Vec<String>,
}

/// How long connecting, and each wait for the other side, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refusal of a datagram is waited for. On the own host it is there before the call returns.
const REFUSAL_WAIT: Duration = Duration::from_millis(50);

/// Sends the messages and says what was sent.
pub fn run(args: &SendArgs) -> ExitCode {
    let message = args.message.join(" ");
    let sent = match &args.to {
        Listen::Udp(to) => send_udp(args, *to, &message),
        Listen::Tcp(to) => send_tcp(args, *to, &message),
        _ => Err((io::ErrorKind::InvalidInput.into(), 0)),
    };
    match sent {
        Ok(bytes) => {
            let plural = if args.count == 1 { "message" } else { "messages" };
            print(&format!("sent {} {plural} ({bytes} bytes) to {}: {message}\n", args.count, args.to))
        }
        Err((error, sent)) => fail(exit::NOT_STARTED, &explain(args, &error, sent)),
    }
}

/// Where messages can be sent to.
fn destination(text: &str) -> Result<Listen, String> {
    match Listen::parse(text)? {
        to @ (Listen::Tcp(_) | Listen::Udp(_)) => Ok(to),
        _ => Err("expected a `tcp://` or `udp://` address; `logger -u PATH` sends to unix sockets".into()),
    }
}

fn explain(args: &SendArgs, error: &io::Error, sent: u64) -> String {
    let to = &args.to;
    match error.kind() {
        io::ErrorKind::ConnectionRefused if sent <= 1 => {
            format!("nothing listens on {to}: is ringmain running, with a syslog source there?")
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("{to} took longer than 5s; {sent} of {} messages were sent", args.count)
        }
        io::ErrorKind::InvalidInput => format!("cannot send to {to}: {error}"),
        _ => format!("{to}: {error}; {sent} of {} messages were sent", args.count),
    }
}

/// The bytes sent, or why not, with the number of messages handed over before.
type Sent = Result<u64, (io::Error, u64)>;

fn send_tcp(args: &SendArgs, to: SocketAddr, message: &str) -> Sent {
    let open = || {
        let stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(stream)
    };
    let stream = open().map_err(|error| (error, 0))?;
    let mut writer = io::BufWriter::with_capacity(64 << 10, &stream);
    let mut bytes = 0;
    for number in 1..=args.count {
        let line = format_5424(Timestamp::now(), &host(), &args.app, &numbered(message, number, args.count));
        let frame = format!("{} {line}", line.len());
        bytes += frame.len() as u64;
        writer.write_all(frame.as_bytes()).map_err(|error| (error, number - 1))?;
    }
    writer.flush().map_err(|error| (error, args.count))?;
    drop(writer);
    finish(&stream).map_err(|error| (error, args.count))?;
    Ok(bytes)
}

/// Ends the connection and waits for the other side to end it too. Without waiting, a server that closed early would
/// answer with a reset that nobody sees, and "sent" would be said of messages thrown away.
fn finish(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut [0; 256])? > 0 {}
    Ok(())
}

fn send_udp(args: &SendArgs, to: SocketAddr, message: &str) -> Sent {
    let open = || {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        // Connected, so that the refusal of a datagram comes back as an error.
        socket.connect(to)?;
        socket.set_read_timeout(Some(REFUSAL_WAIT))?;
        Ok(socket)
    };
    let socket = open().map_err(|error| (error, 0))?;
    let mut bytes = 0;
    for number in 1..=args.count {
        let line = format_5424(Timestamp::now(), &host(), &args.app, &numbered(message, number, args.count));
        let size = socket.send(line.as_bytes()).map_err(|error| (error, number - 1))?;
        bytes += size as u64;
    }
    match socket.recv(&mut [0; 16]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err((error, 0)),
        // Silence is the only yes there is over UDP.
        _ => Ok(bytes),
    }
}

fn numbered(message: &str, number: u64, count: u64) -> String {
    if count == 1 { message.into() } else { format!("{message} #{number}") }
}

/// One RFC 5424 message: facility user, severity notice.
fn format_5424(now: Timestamp, host: &str, app: &str, message: &str) -> String {
    // Microseconds are the finest the RFC allows.
    format!("<13>1 {now:.6} {host} {app} {} - - {message}", std::process::id())
}

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let printable: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
    if printable.is_empty() { "-".into() } else { printable }
}

fn app_name(name: &str) -> Result<String, String> {
    let valid = !name.is_empty() && name.len() <= 48 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if valid {
        Ok(name.into())
    } else {
        Err("expected 1 to 48 printable ASCII letters without spaces".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn args(to: Listen, count: u64) -> SendArgs {
        SendArgs { to, count, app: "test".into(), message: vec!["hello".into()] }
    }

    #[test]
    fn a_message_is_rfc_5424_with_microseconds() {
        let line = format_5424(Timestamp::UNIX_EPOCH, "here", "app", "hello you");
        let pid = std::process::id();
        assert_eq!(line, format!("<13>1 1970-01-01T00:00:00.000000Z here app {pid} - - hello you"));
    }

    #[test]
    fn over_tcp_each_message_is_counted_and_all_arrive_before_it_says_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = String::new();
            listener.accept().unwrap().0.read_to_string(&mut all).unwrap();
            all
        });
        let bytes = send_tcp(&args(Listen::Tcp(to), 3), to, "hello").unwrap();
        let mut rest = &reader.join().unwrap()[..];
        assert_eq!(rest.len() as u64, bytes);
        for number in 1..=3 {
            let (length, frame) = rest.split_once(' ').unwrap();
            let (frame, after) = frame.split_at(length.parse().unwrap());
            assert!(
                frame.starts_with("<13>1 ") && frame.ends_with(&format!(" - - hello #{number}")),
                "{frame}"
            );
            rest = after;
        }
        assert_eq!(rest, "");
    }

    #[test]
    fn over_udp_each_message_is_a_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        send_udp(&args(Listen::Udp(to), 1), to, "hello").unwrap();
        let mut datagram = [0; 2048];
        let length = socket.recv(&mut datagram).unwrap();
        assert!(std::str::from_utf8(&datagram[..length]).unwrap().ends_with(" - - hello"));
    }

    #[test]
    fn a_port_where_nobody_listens_is_a_refusal_over_tcp_and_udp() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = tcp.local_addr().unwrap();
        drop(tcp);
        let (error, sent) = send_tcp(&args(Listen::Tcp(to), 2), to, "hello").unwrap_err();
        assert!(
            explain(&args(Listen::Tcp(to), 2), &error, sent)
                .starts_with("nothing listens on tcp://127.0.0.1:"),
            "{error}"
        );
        let to = udp.local_addr().unwrap();
        drop(udp);
        let (error, sent) = send_udp(&args(Listen::Udp(to), 2), to, "hello").unwrap_err();
        assert!(
            explain(&args(Listen::Udp(to), 2), &error, sent)
                .starts_with("nothing listens on udp://127.0.0.1:"),
            "{error}"
        );
    }
}
