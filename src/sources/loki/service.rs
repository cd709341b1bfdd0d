//! What the `loki` source makes of requests, and how it answers: as Loki does, where clients rely on it.

use super::streams::LokiStreams;
use super::tenant::{TENANT_HEADER, tenant};
use crate::ack;
use crate::http::{Head, Method, Response, Status};
use crate::sources::body::Reader;
use crate::sources::body::inflate::Encoding;
use crate::sources::net::http::admission::RETRY_AFTER;
use crate::sources::net::http::{Outcome, Reading, Service, Streams};

/// Where clients push to.
pub const PUSH: &str = "/loki/api/v1/push";
/// Where clients ask whether they may.
pub const READY: &str = "/ready";

/// What a `loki` source makes of requests.
pub struct LokiService {
    /// The label that says the tenant; `None`: tenants are not told.
    pub tenant_label: Option<Box<str>>,
}

impl Service for LokiService {
    fn reading(&self, head: &Head) -> Result<Reading, Response> {
        match (head.path(), head.method) {
            (PUSH, Method::Post) => self.push(head),
            (PUSH, _) => Err(only(PUSH, "POST")),
            (READY, Method::Get | Method::Head) => Err(Response::text(Status::OK, "ready\n")),
            (READY, _) => Err(only(READY, "GET, HEAD")),
            _ => Err(Response::text(Status::NOT_FOUND, format!("entries are pushed to {PUSH}\n"))),
        }
    }

    fn answer(&self, outcome: &Outcome<'_>) -> Response {
        match outcome {
            Outcome::Done { refusals, .. } if refusals.is_empty() => Response::text(Status::NO_CONTENT, ""),
            // What Loki says when it takes a part, and clients do not send again.
            Outcome::Done { entries, refusals } => {
                let says = format!("{entries} entries taken, {} not:\n{refusals}", refusals.entries());
                Response::text(Status::BAD_REQUEST, says)
            }
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

    fn streams(&self) -> Box<dyn Streams> {
        Box::new(LokiStreams::new(self.tenant_label.clone()))
    }
}

impl LokiService {
    fn push(&self, head: &Head) -> Result<Reading, Response> {
        let bad = |why: &'static str| Response::text(Status::BAD_REQUEST, format!("{why}\n"));
        let tenant = tenant(head.field(TENANT_HEADER)).map_err(bad)?;
        let named = Encoding::named(head.field("content-encoding")).map_err(|error| {
            Response::text(Status::UNSUPPORTED_MEDIA_TYPE, format!("{error}\n"))
                .with("Accept-Encoding", "gzip, deflate, zstd, snappy, identity")
        })?;
        let (encoding, reader) = written(head.field("content-type"), named)?;
        let label = self.tenant_label.as_deref().zip(tenant);
        let labels = label.map(|(name, tenant)| (name.into(), tenant.into())).into_iter().collect();
        Ok(Reading { encoding, reader, labels })
    }
}

/// How the body of a push is packed and written.
fn written(
    content_type: Option<&[u8]>,
    named: Encoding,
) -> Result<(Encoding, fn(&[u8], usize) -> Reader), Response> {
    let essence = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().to_ascii_lowercase().as_slice() {
        b"application/json" => Ok((named, |_, _| Reader::loki_json())),
        b"" | b"application/x-protobuf" => {
            // Protobuf comes in a snappy block, which most clients do not say.
            let encoding = if named == Encoding::Identity { Encoding::Snappy } else { named };
            Ok((encoding, |_, _| Reader::loki_proto()))
        }
        _ => {
            let says = "the type of a push is application/x-protobuf or application/json\n";
            let response = Response::text(Status::UNSUPPORTED_MEDIA_TYPE, says);
            Err(response.with("Accept", "application/x-protobuf, application/json"))
        }
    }
}

fn only(path: &str, methods: &'static str) -> Response {
    Response::text(Status::METHOD_NOT_ALLOWED, format!("{path} takes {methods}\n")).with("Allow", methods)
}

fn unavailable(says: &'static str) -> Response {
    Response::text(Status::UNAVAILABLE, says).with("Retry-After", RETRY_AFTER)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::sources::body::{Place, Refusals, Refused, Why};

    fn reading(line: &str, fields: &str) -> Result<Reading, Response> {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap().0;
        LokiService { tenant_label: Some("tenant".into()) }.reading(&head)
    }

    fn answer(outcome: &Outcome<'_>) -> (u16, String) {
        let response = LokiService { tenant_label: None }.answer(outcome);
        (response.status.code(), String::from_utf8(response.body.to_vec()).unwrap())
    }

    #[test]
    fn bodies_are_read_as_clients_send_them() {
        use Encoding::*;
        for (fields, encoding, reader) in [
            ("", Snappy, "LokiProto"),
            ("Content-Type: application/x-protobuf\r\n", Snappy, "LokiProto"),
            ("Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n", Snappy, "LokiProto"),
            ("Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n", Gzip, "LokiProto"),
            ("Content-Type: application/json; charset=utf-8\r\n", Identity, "LokiJson"),
            ("Content-Type: Application/JSON\r\nContent-Encoding: gzip\r\n", Gzip, "LokiJson"),
        ] {
            let Ok(reading) = reading("POST /loki/api/v1/push?x", fields) else { panic!("{fields}") };
            assert_eq!(reading.encoding, encoding, "{fields}");
            assert!(format!("{:?}", (reading.reader)(b"", 9)).starts_with(reader), "{fields}");
            assert_eq!(reading.labels, []);
        }
        let tenant = reading("POST /loki/api/v1/push", "X-Scope-OrgID: team-a\r\n").ok().unwrap();
        assert_eq!(tenant.labels, [("tenant".into(), "team-a".into())]);
    }

    #[test]
    fn what_is_no_push_is_told_what_would_be() {
        for (line, fields, status, says) in [
            ("GET /ready", "", 200, "ready"),
            ("POST /ready", "", 405, "/ready takes GET, HEAD"),
            ("GET /loki/api/v1/push", "", 405, "push takes POST"),
            ("POST /", "", 404, "are pushed to /loki/api/v1/push"),
            ("POST /loki/api/v1/push", "Content-Type: text/plain\r\n", 415, "application/x-protobuf or"),
            ("POST /loki/api/v1/push", "Content-Encoding: br\r\n", 415, "`br` is not known"),
            ("POST /loki/api/v1/push", "Content-Encoding: gzip, gzip\r\n", 415, "more than one"),
            ("POST /loki/api/v1/push", "X-Scope-OrgID: ../x\r\n", 400, "X-Scope-OrgID must be"),
        ] {
            let Err(response) = reading(line, fields) else { panic!("{line}") };
            let body = String::from_utf8(response.body.to_vec()).unwrap();
            assert!(response.status.code() == status && body.contains(says), "{line}: {body}");
        }
    }

    #[test]
    fn answers_are_those_that_clients_act_upon() {
        let mut refusals = Refusals::default();
        assert_eq!(answer(&Outcome::Done { entries: 3, refusals: &refusals }), (204, String::new()));
        refusals
            .add(Refused::new(Place::Entry { stream: 1, entry: 2 }, Why::Says("a timestamp out of range")));
        let partly = answer(&Outcome::Done { entries: 2, refusals: &refusals });
        let says = "2 entries taken, 1 not:\nstream 1, entry 2: a timestamp out of range\n";
        assert_eq!(partly, (400, says.into()), "not sent again, as it would not be taken then either");
        assert_eq!(answer(&Outcome::Lost(ack::Status::Failed)).0, 503);
        assert_eq!(answer(&Outcome::Lost(ack::Status::Dropped)).0, 503);
        assert_eq!(answer(&Outcome::Late { begun: true }).0, 503);
        assert_eq!(answer(&Outcome::Late { begun: false }).0, 503);
    }
}
