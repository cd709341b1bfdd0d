//! The head of a request: method, target, header fields, and what they say of the body (RFC 9112, 3 and 6).

use super::{Refusal, Status};
use httparse::Error::{TooManyHeaders, Version};
use std::mem::MaybeUninit;

/// Most bytes of a head.
pub const HEAD_MAX: usize = 16 << 10;
/// Most bytes of its first line.
pub const LINE_MAX: usize = 8 << 10;
/// Most header fields in it.
pub const HEADERS_MAX: usize = 100;

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Tell me.
    Get,
    /// Tell me what `Get` would answer, without its body.
    Head,
    /// Take this.
    Post,
    /// Put this there.
    Put,
    /// Take that away.
    Delete,
    /// Anything else.
    Other,
}

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; none without a body.
    Length(u64),
    /// In pieces that each say how long they are.
    Chunked,
}

/// A place in the bytes of a head, which are fewer than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: u16,
    len: u16,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it wants done.
    pub method: Method,
    /// Whether another request may follow on the connection.
    pub keep: bool,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether the client waits for a word before it sends the body (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    bytes: Box<[u8]>,
    path: Place,
    query: Place,
    fields: Box<[(Place, Place)]>,
}

impl Head {
    /// Reads the head at the start of `bytes`: with its length, or `None` if there is only the beginning of one.
    ///
    /// What is wrong with a beginning is wrong with every head that begins so: more bytes never change an error.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        let line_ends = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX)]).is_some();
        let max = if line_ends { HEAD_MAX } else { LINE_MAX };
        let seen = &bytes[..bytes.len().min(max)];
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(seen, &mut fields) {
            Ok(httparse::Status::Complete(len)) => Ok(Some((Head::of(&request, &seen[..len])?, len))),
            Ok(httparse::Status::Partial) if seen.len() < max => Ok(None),
            Ok(httparse::Status::Partial) if line_ends => Err(HEAD_TOO_LONG),
            Ok(httparse::Status::Partial) => Err(LINE_TOO_LONG),
            Err(TooManyHeaders) => Err(TOO_MANY_FIELDS),
            Err(Version) => Err(VERSION),
            Err(_) => Err(Refusal::bad("this is not an HTTP request")),
        }
    }

    fn of(request: &httparse::Request<'_, '_>, bytes: &[u8]) -> Result<Head, Refusal> {
        let later = request.version == Some(1);
        let values = |name: &'static str| {
            let same = move |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
            request.headers.iter().filter(same).map(|field| field.value)
        };
        // RFC 9112, 3.2: exactly one in 1.1, which says so to keep requests from being routed by another one.
        match values("host").count() {
            1 => {}
            0 if !later => {}
            _ => return Err(Refusal::bad("a request has exactly one `Host` header")),
        }
        let framing = framing(later, values("transfer-encoding"), values("content-length"))?;
        let expectation = values("expect").next().map(|value| is_word(value, "100-continue"));
        if expectation == Some(false) {
            let why = "the only expectation understood is `Expect: 100-continue`";
            return Err(Refusal { status: Status::EXPECTATION_FAILED, why });
        }
        let says = |word: &str| {
            let listed = |value: &[u8]| value.split(|byte| *byte == b',').any(|one| is_word(one, word));
            values("connection").any(listed)
        };
        let target = request.path.unwrap_or_default();
        let path = path_of(target).ok_or(Refusal::bad("the target of a request begins with `/`"))?;
        let (path, query) = path.split_once('?').unwrap_or((path, &path[path.len()..]));
        let place = |part: &[u8]| Place {
            // Parts of `bytes`, which are at most HEAD_MAX.
            start: (part.as_ptr() as usize - bytes.as_ptr() as usize) as u16,
            len: part.len() as u16,
        };
        let fields = request.headers.iter().map(|field| (place(field.name.as_bytes()), place(field.value)));
        Ok(Head {
            method: method(request.method.unwrap_or_default()),
            keep: if later { !says("close") } else { says("keep-alive") },
            framing,
            // RFC 9110, 10.1.1: not in a request of 1.0, which could not read the answer.
            expects_continue: later && expectation.is_some() && framing != Framing::Length(0),
            path: if path.is_empty() { ROOT } else { place(path.as_bytes()) },
            query: if query.is_empty() { ROOT } else { place(query.as_bytes()) },
            fields: fields.collect(),
            bytes: bytes.into(),
        })
    }

    fn bytes(&self, place: Place) -> &[u8] {
        &self.bytes[usize::from(place.start)..][..usize::from(place.len)]
    }

    fn text(&self, place: Place) -> &str {
        // The parser lets nothing but text through in a target.
        std::str::from_utf8(self.bytes(place)).unwrap_or_default()
    }

    /// With what: the path, as it was sent.
    pub fn path(&self) -> &str {
        match self.text(self.path) {
            "" => "/",
            path => path,
        }
    }

    /// What stands behind the `?`, as it was sent; empty without.
    pub fn query(&self) -> &str {
        self.text(self.query)
    }

    /// The value of the first header field of that name, in whatever case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields(name).next()
    }

    /// The values of all header fields of that name.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let same = move |(known, _): &&(Place, Place)| {
            usize::from(known.len) == name.len() && self.bytes(*known).eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields.iter().filter(same).map(|(_, value)| self.bytes(*value))
    }

    /// Bytes of memory it holds.
    pub fn footprint(&self) -> usize {
        self.bytes.len() + self.fields.len() * size_of::<(Place, Place)>()
    }
}

const ROOT: Place = Place { start: 0, len: 0 };
const HEAD_TOO_LONG: Refusal =
    Refusal { status: Status::HEAD_TOO_LARGE, why: "the head of a request has at most 16 KiB" };
const TOO_MANY_FIELDS: Refusal =
    Refusal { status: Status::HEAD_TOO_LARGE, why: "a request has at most 100 header fields" };
const LINE_TOO_LONG: Refusal =
    Refusal { status: Status::URI_TOO_LONG, why: "the first line of a request has at most 8 KiB" };
const VERSION: Refusal =
    Refusal { status: Status::VERSION_NOT_SUPPORTED, why: "HTTP/1.1 and HTTP/1.0 are spoken here" };

/// Where the body ends (RFC 9112, 6.3), if that can be understood in one way only.
fn framing<'a>(
    later: bool,
    mut codings: impl Iterator<Item = &'a [u8]>,
    lengths: impl Iterator<Item = &'a [u8]>,
) -> Result<Framing, Refusal> {
    let mut length = None;
    for value in lengths.flat_map(|value| value.split(|byte| *byte == b',')) {
        let this = digits(value.trim_ascii());
        let this = this.ok_or(Refusal::bad("`Content-Length` is a plain decimal number"))?;
        if length.is_some_and(|other| other != this) {
            return Err(Refusal::bad("a request has one `Content-Length`, and this one has several"));
        }
        length = Some(this);
    }
    match (codings.next(), codings.next(), length) {
        (None, _, length) => Ok(Framing::Length(length.unwrap_or(0))),
        (Some(_), _, Some(_)) => {
            Err(Refusal::bad("a request has `Content-Length` or `Transfer-Encoding`, not both"))
        }
        (Some(coding), None, None) if later && is_word(coding, "chunked") => Ok(Framing::Chunked),
        _ => Err(Refusal::bad("the only transfer encoding understood is `chunked`, in HTTP/1.1")),
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let digit = |sum: u64, byte: &u8| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

fn is_word(bytes: &[u8], word: &str) -> bool {
    bytes.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Other,
    }
}

/// Path and query of a request's target, which may be a whole URL (RFC 9112, 3.2). The target `*` and that of a
/// `CONNECT`, an authority, name nothing here.
fn path_of(target: &str) -> Option<&str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let path = match rest {
        Some(rest) => rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]),
        None if target.starts_with('/') => target,
        None => return None,
    };
    // A fragment is none of a server's business, and should not have been sent.
    Some(path.split('#').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Head {
        match Head::parse(text.as_bytes()) {
            Ok(Some((head, len))) => {
                assert_eq!(len, text.len());
                head
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> Status {
        match Head::parse(text.as_bytes()) {
            Err(refusal) => refusal.status,
            other => panic!("{text:.80}: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_read_in_all_its_common_forms() {
        for (target, path, query) in [
            ("/stats?a=b", "/stats", "a=b"),
            ("/a?", "/a", ""),
            ("/a#b?c", "/a", ""),
            ("http://x:1/stats", "/stats", ""),
            ("HTTP://x", "/", ""),
            ("https://x?q", "/", "q"),
        ] {
            let head = whole(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        }
        let keep = |text: &str| whole(text).keep;
        assert!(keep("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.1\nHost: x\nConnection: a, Close\n\n"));
        assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
        assert!(keep("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        let method = |name: &str| whole(&format!("{name} / HTTP/1.1\r\nHost: x\r\n\r\n")).method;
        assert_eq!((method("HEAD"), method("POST")), (Method::Head, Method::Post));
        assert_eq!([method("PATCH"), method("get")], [Method::Other; 2]);
        let head = whole("POST / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:  two words \r\nB:\r\n\r\n");
        assert_eq!(head.fields("X-a").collect::<Vec<_>>(), [&b"1"[..], b"two words"]);
        assert_eq!((head.field("b"), head.field("c")), (Some(&b""[..]), None));
    }

    #[test]
    fn a_body_ends_where_one_header_says_and_no_other_contradicts() {
        let framing = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            Head::parse(text.as_bytes()).map(|head| head.unwrap().0.framing).map_err(|error| error.status)
        };
        assert_eq!(framing(""), Ok(Framing::Length(0)));
        assert_eq!(framing("Content-Length: 0012\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Content-Length: 5, 5\r\ncontent-length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for fields in [
            "Content-Length: -1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 1 2\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length: 5\r\n folded: 6\r\n",
        ] {
            assert_eq!(framing(fields), Err(Status::BAD_REQUEST), "{fields:?}");
        }
        assert_eq!(
            refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Status::BAD_REQUEST,
            "a reader of 1.0 would take the connection's end for the body's"
        );
    }

    #[test]
    fn a_client_waits_for_a_word_only_where_it_can_hear_it() {
        let expects = |version: &str, length: u8| {
            let fields = format!("Host: x\r\nExpect: 100-Continue\r\nContent-Length: {length}");
            whole(&format!("POST / HTTP/{version}\r\n{fields}\r\n\r\n")).expects_continue
        };
        assert!(expects("1.1", 1) && !expects("1.0", 1) && !expects("1.1", 0));
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n"), Status::EXPECTATION_FAILED);
    }

    #[test]
    fn what_is_no_head_is_told_why() {
        let fields = "a: b\r\n".repeat(HEADERS_MAX);
        let long = "a".repeat(LINE_MAX);
        for (text, status) in [
            ("\u{16}\u{3}\u{1} tls".to_owned(), Status::BAD_REQUEST),
            ("GET / HTTP/1.1\r\n\r\n".into(), Status::BAD_REQUEST),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), Status::BAD_REQUEST),
            ("GET stats HTTP/1.1\r\nHost: a\r\n\r\n".into(), Status::BAD_REQUEST),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(), Status::BAD_REQUEST),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".into(), Status::BAD_REQUEST),
            ("GET / HTTP/2.0\r\n\r\n".into(), Status::VERSION_NOT_SUPPORTED),
            (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), Status::HEAD_TOO_LARGE),
            (format!("GET / HTTP/1.1\r\nHost: {long}{long}\r\n"), Status::HEAD_TOO_LARGE),
            (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Status::URI_TOO_LONG),
            (format!("GET /{long}\u{1}"), Status::URI_TOO_LONG),
        ] {
            assert_eq!(refused(&text), status, "{text:.80}");
        }
    }

    #[test]
    fn a_head_cut_at_any_byte_is_the_beginning_of_one() {
        let text = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nAccept: */*\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(Head::parse(&text[..cut]), Ok(None), "cut at {cut}");
        }
    }
}
