//! What can be asked of the desk over HTTP: `POST /dlq/replay`, `POST /dlq/purge`.

use super::{Desk, Refused, Wish};
use crate::delivery::dlq::filter::Filter;
use crate::delivery::dlq::store::unix_millis;
use crate::http::{Response, Status, response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Instant;

/// Does what was posted to `path`, if it is for the desk.
pub fn post(desk: Option<&Desk>, path: &str, body: &[u8]) -> Option<Response> {
    let answer = match path {
        "/dlq/replay" => replay,
        "/dlq/purge" => purge,
        _ => return None,
    };
    let Some(desk) = desk else {
        return Some(Response::text(
            Status::CONFLICT,
            "There are no dead letters: `dispatcher.dlq.enabled` is false.\n",
        ));
    };
    Some(answer(desk, body).unwrap_or_else(|refused| refused))
}

fn replay(desk: &Desk, body: &[u8]) -> Result<Response, Response> {
    let wish: Wish = read(body)?;
    let id = desk.ask(wish).map_err(|refused| match refused {
        Refused::Wrong(why) => Response::text(Status::BAD_REQUEST, format!("{why}\n")),
        Refused::Busy(why) => Response::text(Status::CONFLICT, format!("{why}\n")),
    })?;
    Ok(said(&json!({ "replay": id })))
}

fn purge(desk: &Desk, body: &[u8]) -> Result<Response, Response> {
    if body.trim_ascii().is_empty() {
        let says = "Which letters? A filter such as {\"reason\":\"rejected\"}; {} means all of them.\n";
        return Err(Response::text(Status::BAD_REQUEST, says));
    }
    let filter: Filter = read(body)?;
    let purged = desk
        .store
        .purge(&filter, Instant::now(), unix_millis())
        .map_err(|error| Response::text(Status::UNAVAILABLE, format!("not yet gone from disk: {error}\n")))?;
    tracing::info!("dead letters: {purged} removed, asked for over HTTP");
    Ok(said(&json!({ "purged": purged })))
}

fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Response> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice(body);
    read.map_err(|error| Response::text(Status::BAD_REQUEST, format!("the body: {error}\n")))
}

fn said(value: &Value) -> Response {
    let body = Cow::Owned(format!("{value}\n").into_bytes());
    Response { status: Status::OK, content_type: response::JSON, body, fields: Vec::new() }
}
