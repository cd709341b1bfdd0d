//! Answers, as bytes (RFC 9112, 4): always with a known length.

use super::Status;
use std::borrow::Cow;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub status: Status,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, [u8]>,
    /// Further header fields. Values are ours: they have no line ends.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
}

/// Plain words.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// JSON.
pub const JSON: &str = "application/json";

impl Response {
    /// An answer in plain words.
    pub fn text(status: Status, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response { status, content_type: TEXT, body, fields: Vec::new() }
    }

    /// An answer in JSON.
    pub fn json(status: Status, body: Vec<u8>) -> Self {
        Response { status, content_type: JSON, body: Cow::Owned(body), fields: Vec::new() }
    }

    /// The answer with one more header field.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        debug_assert!(!value.contains(char::is_control), "a field ends where its line does");
        self.fields.push((name, value));
        self
    }

    /// Writes the answer behind `out`: without its body if it is `bodyless` (to a `HEAD`), and with a word on whether
    /// another request may follow on the connection.
    pub fn encode(&self, bodyless: bool, keep: bool, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        put(&["HTTP/1.1 ", number.format(self.status.code()), " ", self.status.reason(), "\r\n"]);
        // RFC 9110, 8.6: no length where there is never a body.
        if self.status != Status::NO_CONTENT {
            put(&["Content-Type: ", self.content_type, "\r\n"]);
            put(&["Content-Length: ", number.format(self.body.len()), "\r\n"]);
        }
        put(&["Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"]);
        for (name, value) in &self.fields {
            put(&[name, ": ", value, "\r\n"]);
        }
        put(&["Connection: ", if keep { "keep-alive" } else { "close" }, "\r\n\r\n"]);
        if !bodyless && self.status != Status::NO_CONTENT {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response, bodyless: bool, keep: bool) -> String {
        let mut out = Vec::new();
        response.encode(bodyless, keep, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_to_head_tells_the_length_of_the_body_it_leaves_out() {
        let response = Response::text(Status::METHOD_NOT_ALLOWED, "no").with("Allow", "GET, HEAD");
        let text = encoded(&response, true, false);
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.ends_with("\r\n\r\n"));
        for line in ["Content-Length: 2", "Allow: GET, HEAD", "Connection: close"] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(encoded(&response, false, true).ends_with("Connection: keep-alive\r\n\r\nno"));
    }

    #[test]
    fn an_answer_that_never_has_a_body_tells_no_length() {
        let text = encoded(&Response::text(Status::NO_CONTENT, "x"), false, true);
        assert!(!text.contains("Content-") || text.contains("X-Content"), "{text}");
        assert!(text.ends_with("\r\n\r\n") && !text.contains("Content-Length"), "{text}");
    }
}
