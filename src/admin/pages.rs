//! What there is to read and to do, who may, and how it is answered.

use super::connection::Answers;
use super::{Inside, Status as Judgement, exposition, tap, threads};
use crate::auth::Auth;
use crate::http::{Head, Method, Response, Status, response};
use crate::secret::Secret;
use serde::Serialize;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

const INDEX: &str = "ringmain, looked into:\n\
    /metrics  all numbers, for Prometheus\n\
    /stats    all numbers, as JSON\n\
    /health   how every component is and why: 200 while all is safe, 503 if it will not recover by itself\n\
    /threads  each thread, what it does, since when, where it runs, its share of CPU: text, or ?format=json\n\
    /tap      live entries: ?id=ANY&at=source:NAME (or step:PIPELINE/1, sink:NAME), &where=CONDITION, &rate=100\n\
    /dlq      the dead letters by sink and reason, and how a replay goes (begun by POST /dlq/replay)\n\
    /ready    200 while entries are taken in, 503 and the reason if not\n";

const TAP: &str = "/tap";

/// What can be read; the rest is done with `POST`.
const READABLE: [&str; 8] = ["/", "/metrics", "/stats", "/health", "/threads", "/dlq", "/ready", TAP];

/// The pages of a server.
pub struct Pages<'a> {
    /// What they show.
    pub inside: &'a dyn Inside,
    /// What whoever changes something has to show.
    pub token: Option<&'a Secret>,
    /// Where the server listens.
    pub listen: Option<SocketAddr>,
}

impl Answers for Pages<'_> {
    fn admit(&self, head: &Head) -> Result<(), Response> {
        self.named(head)?;
        let reads = matches!(head.method, Method::Get | Method::Head);
        // Entries are nobody's business but those who may change something, where that is said.
        if reads && (self.token.is_none() || head.path() != TAP) {
            return Ok(());
        }
        if !reads && READABLE.contains(&head.path()) {
            let says = "This is read only: GET or HEAD.\n";
            return Err(Response::text(Status::METHOD_NOT_ALLOWED, says).with("Allow", "GET, HEAD"));
        }
        let Some(token) = self.token else {
            let says = "Nothing can be changed from here: `admin.token` is not set in the config.\n";
            return Err(Response::text(Status::FORBIDDEN, says));
        };
        let auth = Auth::Bearer(token.clone());
        if !auth.admits(head.field("authorization")) {
            let says = "Who changes something shows `admin.token`: `Authorization: Bearer TOKEN`.\n";
            return Err(Response::text(Status::UNAUTHORIZED, says).with("WWW-Authenticate", auth.challenge()));
        }
        if !reads && head.method != Method::Post {
            let says = "Things are done with POST.\n";
            return Err(Response::text(Status::METHOD_NOT_ALLOWED, says).with("Allow", "POST"));
        }
        Ok(())
    }

    fn answer(&self, head: &Head, body: &[u8]) -> Response {
        match head.method {
            Method::Post => self.inside.post(head.path(), body).unwrap_or_else(nothing),
            _ if head.path() == TAP => live(head.query(), self.inside),
            _ => read(head, self.inside),
        }
    }
}

impl Pages<'_> {
    /// Whether the request is meant for us. A browser can be made to send requests here under the name of any site, by a
    /// DNS answer that changes (rebinding), and to tell that site what was answered: but not under a name that is no
    /// site's. Where the network can reach the server anyway, that adds nothing.
    fn named(&self, head: &Head) -> Result<(), Response> {
        let Some(host) = head.field("host") else { return Ok(()) };
        let local = self.listen.is_some_and(|listen| listen.ip().to_canonical().is_loopback());
        if !local || std::str::from_utf8(host).is_ok_and(is_local_name) {
            return Ok(());
        }
        let says = "This server goes by localhost, or the address it listens on.\n";
        Err(Response::text(Status::MISDIRECTED, says))
    }
}

/// Whether a `Host` is `localhost` or an address, with or without a port. Addresses are nobody's names.
fn is_local_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inner.unwrap_or(name).parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

fn read(head: &Head, inside: &dyn Inside) -> Response {
    match head.path() {
        "/" => Response::text(Status::OK, INDEX),
        "/metrics" => Response {
            status: Status::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: Cow::Owned(exposition::render(inside.telemetry(), &inside.snapshot()).into_bytes()),
            fields: Vec::new(),
        },
        "/stats" => json(Status::OK, &inside.snapshot()),
        "/health" => {
            let health = inside.health();
            let failing = health.status == Judgement::Failing;
            json(if failing { Status::UNAVAILABLE } else { Status::OK }, &health)
        }
        "/threads" => {
            let all = inside.threads();
            if wants_json(head) {
                json(Status::OK, &all)
            } else {
                Response::text(Status::OK, threads::table(&all))
            }
        }
        "/dlq" => match inside.letters() {
            Some(letters) => json(Status::OK, &letters),
            None => Response::text(
                Status::NOT_FOUND,
                "There are no dead letters: `dispatcher.dlq.enabled` is false.\n",
            ),
        },
        "/ready" => match inside.ready() {
            Ok(()) => Response::text(Status::OK, "ready\n"),
            Err(reason) => Response::text(Status::UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        _ => nothing(),
    }
}

/// Whether JSON was asked for, by the address or by what is accepted.
fn wants_json(head: &Head) -> bool {
    let accepts = head.field("accept").is_some_and(|accept| accept.starts_with(b"application/json"));
    accepts || head.query().split('&').any(|pair| pair == "format=json")
}

fn live(query: &str, inside: &dyn Inside) -> Response {
    match tap::answer(query, inside) {
        Ok(lines) => Response {
            status: Status::OK,
            content_type: "application/x-ndjson",
            body: Cow::Owned(lines),
            fields: Vec::new(),
        },
        Err(why) => Response::text(Status::BAD_REQUEST, format!("{why}\n")),
    }
}

fn nothing() -> Response {
    Response::text(Status::NOT_FOUND, format!("There is nothing here.\n\n{INDEX}"))
}

fn json(status: Status, value: &impl Serialize) -> Response {
    // Our own structs have no keys that JSON does not know; should one ever, the reader is told.
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_else(|error| error.to_string().into_bytes());
    body.push(b'\n');
    Response { status, content_type: response::JSON, body: Cow::Owned(body), fields: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::is_local_name;

    #[test]
    fn only_names_that_are_no_sites_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:8401",
            "a.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8401",
            "[::1]:8401",
            "[::1]",
            "10.0.0.1:80",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8401",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "notlocalhost",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
