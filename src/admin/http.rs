//! As much of HTTP/1.1 as it takes to be read from (RFC 9112): requests without a body, answers with a known length.
//!
//! Pure functions of bytes. Not here: sockets and time (see `connection`), and what to answer (see `pages`).

/// Most bytes of a request's head.
pub const HEAD_MAX: usize = 16 << 10;
/// Most header lines in it.
pub const HEADERS_MAX: usize = 64;

/// What a request wants done; only reading is done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Head and body.
    Get,
    /// The head of what `Get` would answer.
    Head,
    /// Anything else.
    Other,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it wants done.
    pub method: Method,
    /// With what: the path, without a query.
    pub path: String,
    /// The query, without its `?`; empty if there is none.
    pub query: String,
    /// Whether another request may follow on the connection.
    pub keep: bool,
}

/// What the bytes received so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The beginning of a request.
    Partial,
    /// A request, and how many bytes it took.
    Whole(Request, usize),
    /// Not a request we understand, and what to answer; nothing behind it can be trusted.
    Bad(Code),
}

/// The status of an answer (RFC 9110, 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Here it is.
    Ok,
    /// This is no request.
    BadRequest,
    /// There is nothing under this path.
    NotFound,
    /// This is read only.
    MethodNotAllowed,
    /// A request has no body here.
    ContentTooLarge,
    /// The head is too long.
    HeadTooLarge,
    /// It is not well.
    Unavailable,
    /// This version of HTTP is not spoken here.
    VersionNotSupported,
}

impl Code {
    /// Number and words, as in the status line.
    pub fn line(self) -> &'static str {
        match self {
            Code::Ok => "200 OK",
            Code::BadRequest => "400 Bad Request",
            Code::NotFound => "404 Not Found",
            Code::MethodNotAllowed => "405 Method Not Allowed",
            Code::ContentTooLarge => "413 Content Too Large",
            Code::HeadTooLarge => "431 Request Header Fields Too Large",
            Code::Unavailable => "503 Service Unavailable",
            Code::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// Reads the request at the beginning of `bytes`.
pub fn parse(bytes: &[u8]) -> Head {
    use httparse::Error::{TooManyHeaders, Version};
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&bytes[..bytes.len().min(HEAD_MAX)]) {
        Ok(httparse::Status::Complete(len)) => match understood(&request) {
            Ok(request) => Head::Whole(request, len),
            Err(code) => Head::Bad(code),
        },
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => Head::Partial,
        Ok(httparse::Status::Partial) | Err(TooManyHeaders) => Head::Bad(Code::HeadTooLarge),
        Err(Version) => Head::Bad(Code::VersionNotSupported),
        Err(_) => Head::Bad(Code::BadRequest),
    }
}

fn understood(request: &httparse::Request<'_, '_>) -> Result<Request, Code> {
    let values = |name: &'static str| {
        let same = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).map(|header| header.value)
    };
    let later = request.version == Some(1);
    // RFC 9112, 3.2: exactly one in 1.1.
    if values("host").count() > 1 || later && values("host").count() == 0 {
        return Err(Code::BadRequest);
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    if values("transfer-encoding").count() > 0 || values("content-length").any(|len| len != b"0") {
        // We do not look for where the body ends: the connection does.
        return Err(if method == Method::Other { Code::MethodNotAllowed } else { Code::ContentTooLarge });
    }
    let says = |word: &str| {
        let listed = |value: &[u8]| value.split(|byte| *byte == b',').any(|one| is_word(one, word));
        values("connection").any(listed)
    };
    Ok(Request {
        method,
        path: path_of(request.path.unwrap_or_default()).to_owned(),
        query: query_of(request.path.unwrap_or_default()).to_owned(),
        keep: if later { !says("close") } else { says("keep-alive") },
    })
}

fn is_word(bytes: &[u8], word: &str) -> bool {
    bytes.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

/// The path in a request's target, which may be a whole URL (RFC 9112, 3.2.2).
fn path_of(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// What stands behind the `?` of a request's target.
fn query_of(target: &str) -> &str {
    let whole = target.split('#').next().unwrap_or_default();
    whole.split_once('?').map_or("", |(_, query)| query)
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub code: Code,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer in plain words.
    pub fn text(code: Code, body: impl Into<String>) -> Self {
        let body: String = body.into();
        Response { code, content_type: "text/plain; charset=utf-8", body: body.into_bytes() }
    }

    /// The answer as bytes: with its body unless it is to `Head`, and `keep` if another request may follow.
    pub fn encode(&self, method: Method, keep: bool) -> Vec<u8> {
        let Response { code, content_type, body } = self;
        let allow = if *code == Code::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{allow}Connection: {}\r\n\r\n",
            code.line(),
            body.len(),
            if keep { "keep-alive" } else { "close" },
        );
        let mut bytes = head.into_bytes();
        if method != Method::Head {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(path: &str, keep: bool) -> Option<Request> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Some(Request { method: Method::Get, path: path.into(), query: query.into(), keep })
    }

    fn whole(text: &str) -> Option<Request> {
        match parse(text.as_bytes()) {
            Head::Whole(request, len) => {
                assert_eq!(len, text.len());
                Some(request)
            }
            _ => None,
        }
    }

    #[test]
    fn a_request_is_read_in_all_its_common_forms() {
        assert_eq!(whole("GET /stats?a=b HTTP/1.1\r\nHost: x\r\n\r\n"), get("/stats?a=b", true));
        assert_eq!(whole("GET http://x:1/stats HTTP/1.1\r\nhost: x:1\r\n\r\n"), get("/stats", true));
        assert_eq!(whole("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n"), get("/", true));
        assert_eq!(whole("GET / HTTP/1.1\nHost: x\nConnection: a, Close\n\n"), get("/", false));
        assert_eq!(whole("GET / HTTP/1.0\r\n\r\n"), get("/", false));
        assert_eq!(whole("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), get("/", true));
        let method =
            |name: &str| whole(&format!("{name} / HTTP/1.1\r\nHost: x\r\n\r\n")).map(|one| one.method);
        assert_eq!(method("HEAD"), Some(Method::Head));
        assert_eq!([method("DELETE"), method("get")], [Some(Method::Other); 2]);
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        let bad = |text: &str| parse(text.as_bytes());
        let headers = "a: b\r\n".repeat(HEADERS_MAX + 1);
        for (text, code) in [
            ("\u{16}\u{3}\u{1} tls".to_owned(), Code::BadRequest),
            ("GET / HTTP/1.1\r\n\r\n".into(), Code::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), Code::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n".into(), Code::BadRequest),
            ("GET / HTTP/2.0\r\n\r\n".into(), Code::VersionNotSupported),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into(), Code::MethodNotAllowed),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into(), Code::ContentTooLarge),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Code::ContentTooLarge),
            (format!("GET / HTTP/1.1\r\n{headers}\r\n"), Code::HeadTooLarge),
            (format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_MAX)), Code::HeadTooLarge),
        ] {
            assert_eq!(bad(&text), Head::Bad(code), "{text:.80}");
        }
    }

    #[test]
    fn a_head_cut_at_any_byte_is_the_beginning_of_one() {
        let text = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(parse(&text[..cut]), Head::Partial, "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_to_head_tells_the_length_of_the_body_it_leaves_out() {
        let response = Response::text(Code::MethodNotAllowed, "no");
        let text = String::from_utf8(response.encode(Method::Head, false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.ends_with("\r\n\r\n"));
        for line in ["Content-Length: 2", "Allow: GET, HEAD", "Connection: close"] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(response.encode(Method::Get, true).ends_with(b"Connection: keep-alive\r\n\r\nno"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_within_their_length(bytes: Vec<u8>) {
            for start in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
                let all = [start.as_bytes(), &bytes].concat();
                if let Head::Whole(_, len) = parse(&all) {
                    prop_assert!(len <= all.len());
                }
            }
        }
    }
}
