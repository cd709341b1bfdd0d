//! What the `http` source makes of paths, types and headers, and how it answers.

use super::config::Format;
use crate::ack;
use crate::http::{Head, Method, Response, Status};
use crate::sources::body::array::One;
use crate::sources::body::inflate::Encoding;
use crate::sources::body::{Reader, Refusals};
use crate::sources::net::http::admission::RETRY_AFTER;
use crate::sources::net::http::{Outcome, Reading, Service};
use std::fmt::Write;

/// Longest value of a label that a request's header gives, in bytes; a longer one is cut there.
pub const LABEL_MAX: usize = 256;

/// What an `http` source makes of requests.
pub struct HttpService {
    /// Paths and what is posted to them.
    pub paths: Vec<(String, Format)>,
    /// Labels, and the headers whose values they get.
    pub header_labels: Vec<(String, String)>,
}

impl Service for HttpService {
    fn reading(&self, head: &Head) -> Result<Reading, Response> {
        let Some((_, format)) = self.paths.iter().find(|(path, _)| path == head.path()) else {
            let known: Vec<_> = self.paths.iter().map(|(path, _)| path.as_str()).collect();
            let says = format!("entries are posted to {}\n", known.join(", "));
            return Err(Response::text(Status::NOT_FOUND, says));
        };
        if head.method != Method::Post && head.method != Method::Put {
            let says = "entries are sent with POST (or PUT)\n";
            return Err(Response::text(Status::METHOD_NOT_ALLOWED, says).with("Allow", "POST, PUT"));
        }
        let encoding = Encoding::named(head.field("content-encoding"));
        let encoding = encoding.map_err(|error| {
            Response::text(Status::UNSUPPORTED_MEDIA_TYPE, format!("{error}\n"))
                .with("Accept-Encoding", "gzip, deflate, zstd, snappy, identity")
        })?;
        let reader = reader(*format, head.field("content-type"))?;
        Ok(Reading { encoding, reader, labels: self.labels(head) })
    }

    fn answer(&self, outcome: &Outcome<'_>) -> Response {
        match outcome {
            Outcome::Done { entries, refusals } => done(*entries, refusals),
            Outcome::Packed(error) => {
                let status = match error.status() {
                    413 => Status::CONTENT_TOO_LARGE,
                    415 => Status::UNSUPPORTED_MEDIA_TYPE,
                    _ => Status::BAD_REQUEST,
                };
                Response::text(status, format!("{error}\n"))
            }
            Outcome::Lost(ack::Status::Dropped) => {
                unavailable("some of these entries were dropped: the policy of this source under pressure\n")
            }
            Outcome::Lost(_) => unavailable("some of these entries could not be delivered\n"),
            Outcome::Late { begun: true } => {
                unavailable("these entries were taken, but not delivered in time; they may be, later\n")
            }
            Outcome::Late { begun: false } => {
                unavailable("no room in time; none of these entries was taken\n")
            }
        }
    }
}

impl HttpService {
    fn labels(&self, head: &Head) -> Vec<(Box<str>, Box<str>)> {
        let label = |(label, header): &(String, String)| {
            let value = head.field(header).filter(|value| !value.is_empty())?;
            Some((label.as_str().into(), harmless(value)))
        };
        self.header_labels.iter().filter_map(label).collect()
    }
}

/// A header's value as a label's: text, without control characters, and not too long. Whoever writes it somewhere else
/// finds no line end in it, and nobody's memory is filled with it.
fn harmless(value: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&value[..value.len().min(LABEL_MAX)]);
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    text.chars().map(|letter| if letter.is_control() { '_' } else { letter }).collect()
}

/// How to read a body: as its path says, or else its type.
fn reader(format: Format, content_type: Option<&[u8]>) -> Result<fn(&[u8], usize) -> Reader, Response> {
    const LINES: fn(&[u8], usize) -> Reader = |_, _| Reader::lines();
    const NDJSON: fn(&[u8], usize) -> Reader = |_, max| Reader::ndjson(max);
    Ok(match format {
        Format::Lines => LINES,
        Format::Ndjson => NDJSON,
        Format::Json => json,
        Format::Auto => {
            let name = content_type.unwrap_or_default();
            let name = name.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            match name.to_ascii_lowercase().as_slice() {
                b"application/x-ndjson"
                | b"application/ndjson"
                | b"application/jsonl"
                | b"application/x-jsonlines"
                | b"application/json-lines"
                | b"application/stream+json" => NDJSON,
                b"application/json" | b"text/json" => json,
                // What `curl -d` says when it is told nothing; no body of ours is a form.
                b"" | b"text/plain" | b"application/x-www-form-urlencoded" => LINES,
                _ => {
                    let says = "the type of a body is application/x-ndjson, application/json or text/plain\n";
                    return Err(Response::text(Status::UNSUPPORTED_MEDIA_TYPE, says)
                        .with("Accept", "application/x-ndjson, application/json, text/plain"));
                }
            }
        }
    })
}

/// JSON is an array of entries, one entry over several lines, or one a line.
fn json(body: &[u8], entry_max: usize) -> Reader {
    match body.trim_ascii_start().first() {
        Some(b'[') => Reader::array(entry_max),
        _ if One::is_all_of(body) => Reader::one(entry_max),
        _ => Reader::ndjson(entry_max),
    }
}

fn unavailable(says: &'static str) -> Response {
    Response::text(Status::UNAVAILABLE, says).with("Retry-After", RETRY_AFTER)
}

/// 200 if all was taken, 400 if nothing was, 207 if some was: each with counts, and the first refusals.
fn done(entries: u64, refusals: &Refusals) -> Response {
    let status = match (entries, refusals.is_empty()) {
        (_, true) => Status::OK,
        (0, false) => Status::BAD_REQUEST,
        _ => Status::MULTI_STATUS,
    };
    let mut body = format!("{{\"taken\":{entries},\"refused\":{}", refusals.entries());
    if !refusals.is_empty() {
        body += ",\"errors\":[";
        for (at, refused) in refusals.first().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // Its words are ours: they have nothing that JSON would escape.
            let _ = write!(body, "{comma}{}", serde_json::Value::from(refused.to_string()));
        }
        body += "]";
    }
    body += "}\n";
    Response::json(status, body.into_bytes())
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::sources::body::{Place, Refused, Why};

    fn service() -> HttpService {
        HttpService {
            paths: vec![("/".into(), Format::Auto), ("/lines".into(), Format::Lines)],
            header_labels: vec![("tenant".into(), "X-Tenant".into())],
        }
    }

    fn head(line: &str, fields: &str) -> Head {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn status(line: &str, fields: &str) -> u16 {
        service().reading(&head(line, fields)).map_or_else(|response| response.status.code(), |_| 0)
    }

    fn format(line: &str, content_type: &str, body: &[u8]) -> String {
        let reading =
            service().reading(&head(line, &format!("Content-Type: {content_type}\r\n"))).ok().unwrap();
        let name = format!("{:?}", (reading.reader)(body, 100));
        name.split('(').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_body_is_read_as_its_path_says_or_else_its_type() {
        assert_eq!(format("POST /", "application/x-ndjson", b""), "Ndjson");
        assert_eq!(format("PUT /?x", "Application/JSON; charset=utf-8", b" \n[{}]"), "Array");
        assert_eq!(format("POST /", "application/json", b"{}"), "Ndjson");
        assert_eq!(format("POST /", "application/json", b"{\n}\n"), "One");
        assert_eq!(format("POST /", "text/plain", b"{}"), "Lines");
        assert_eq!(format("POST /lines", "application/json", b"{}"), "Lines");
        assert_eq!(status("POST /", ""), 0);
    }

    #[test]
    fn what_is_not_for_this_source_is_told_what_would_be() {
        assert_eq!(status("POST /nothing", ""), 404);
        assert_eq!(status("GET /", ""), 405);
        assert_eq!(status("POST /", "Content-Type: image/png\r\n"), 415);
        assert_eq!(status("POST /", "Content-Encoding: br\r\n"), 415);
        assert_eq!(status("POST /", "Content-Encoding: gzip, gzip\r\n"), 415);
    }

    #[test]
    fn a_header_becomes_a_label_without_anything_that_could_end_a_line() {
        let labels = |value: &str| service().reading(&head("POST /", value)).ok().unwrap().labels;
        assert_eq!(labels("X-Tenant: ../a b\tc\u{85}\r\n"), [("tenant".into(), "../a b_c_".into())]);
        assert_eq!(labels("X-Tenant:\r\n"), []);
        let long = format!("X-Tenant: {}\u{20ac}\r\n", "x".repeat(LABEL_MAX - 1));
        assert_eq!(labels(&long)[0].1.len(), LABEL_MAX - 1, "no half letter");
    }

    #[test]
    fn an_answer_says_what_was_taken_and_what_was_not() {
        let (mut refusals, done) = (Refusals::default(), |entries, refusals: &Refusals| {
            let response = service().answer(&Outcome::Done { entries, refusals });
            (response.status.code(), String::from_utf8(response.body.to_vec()).unwrap())
        });
        assert_eq!(done(3, &refusals), (200, "{\"taken\":3,\"refused\":0}\n".into()));
        refusals.add(Refused::new(Place::Line(2), Why::Says("a \"bad\" one")));
        let (status, body) = done(1, &refusals);
        assert_eq!(status, 207);
        assert_eq!(body, "{\"taken\":1,\"refused\":1,\"errors\":[\"line 2: a \\\"bad\\\" one\"]}\n");
        assert_eq!(done(0, &refusals).0, 400);
        let late = service().answer(&Outcome::Late { begun: false });
        assert_eq!(late.fields, [("Retry-After", "1".into())]);
    }
}
