//! How entries stand in the body of a request.

use crate::batch::Batch;
use crate::sinks::client::Span;
use crate::sinks::format::{Encoder, Format};
use serde::{Deserialize, Serialize};
use std::iter::once;

/// The shape of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// One JSON object per line.
    #[default]
    Ndjson,
    /// One JSON array of objects.
    JsonArray,
    /// The entries' text as it came, one per line; one that holds newlines itself is as many lines as it was.
    Lines,
}

impl BodyFormat {
    /// What `Content-Type` says of it.
    pub fn content_type(self) -> &'static str {
        match self {
            BodyFormat::Ndjson => "application/x-ndjson",
            BodyFormat::JsonArray => "application/json",
            BodyFormat::Lines => "text/plain; charset=utf-8",
        }
    }

    /// What encodes its entries.
    pub(super) fn encoder(self) -> Encoder {
        Encoder::new(match self {
            BodyFormat::Ndjson | BodyFormat::JsonArray => Format::Json,
            BodyFormat::Lines => Format::Raw,
        })
    }

    /// Writes the entries of `spans` to `out`, which is empty.
    pub(super) fn write(self, batch: &Batch, spans: &[Span], encoder: &mut Encoder, out: &mut Vec<u8>) {
        if self == BodyFormat::JsonArray {
            out.push(b'[');
        }
        for span in spans {
            let part = &batch.parts()[span.part as usize];
            if self != BodyFormat::JsonArray {
                encoder.encode(&part.block, part.stream(), span.places(part), out);
                continue;
            }
            for place in span.places(part) {
                encoder.encode(&part.block, part.stream(), once(place), out);
                // An object ends in a newline, and has no other.
                out.pop();
                out.push(b',');
            }
        }
        if self == BodyFormat::JsonArray {
            out.pop();
            out.push(b']');
        }
    }
}
