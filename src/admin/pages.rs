//! What there is to read, and how it is answered.

use super::http::{Code, Method, Request, Response};
use super::{Inside, Status, exposition, tap};
use serde::Serialize;

const INDEX: &str = "ringmain, looked into:\n\
    /metrics  all numbers, for Prometheus\n\
    /stats    all numbers, as JSON\n\
    /health   how every component is and why: 200 while all is safe, 503 if it will not recover by itself\n\
    /tap      live entries: ?id=ANY&at=source:NAME (or step:PIPELINE/1, sink:NAME), &where=CONDITION, &rate=100\n\
    /ready    200 while entries are taken in, 503 and the reason if not\n";

/// The answer to `request`.
pub fn answer(request: &Request, inside: &dyn Inside) -> Response {
    if request.method == Method::Other {
        return Response::text(Code::MethodNotAllowed, "This is read only: GET or HEAD.\n");
    }
    match &*request.path {
        "/" => Response::text(Code::Ok, INDEX),
        "/metrics" => Response {
            code: Code::Ok,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: exposition::render(inside.telemetry(), &inside.snapshot()).into_bytes(),
        },
        "/stats" => json(Code::Ok, &inside.snapshot()),
        "/health" => {
            let health = inside.health();
            let code = if health.status == Status::Failing { Code::Unavailable } else { Code::Ok };
            json(code, &health)
        }
        "/ready" => match inside.ready() {
            Ok(()) => Response::text(Code::Ok, "ready\n"),
            Err(reason) => Response::text(Code::Unavailable, format!("not ready: {reason}\n")),
        },
        "/tap" => match tap::answer(&request.query, inside) {
            Ok(body) => Response { code: Code::Ok, content_type: "application/x-ndjson", body },
            Err(why) => Response::text(Code::BadRequest, format!("{why}\n")),
        },
        _ => Response::text(Code::NotFound, format!("There is nothing here.\n\n{INDEX}")),
    }
}

fn json(code: Code, value: &impl Serialize) -> Response {
    // Our own structs have no keys that JSON does not know; should one ever, the reader is told.
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_else(|error| error.to_string().into_bytes());
    body.push(b'\n');
    Response { code, content_type: "application/json", body }
}
