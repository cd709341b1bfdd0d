//! What bodies say, by `serde_json`, values and all.

use serde_json::Value;
use std::collections::BTreeMap;

/// An entry of a push to Loki.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    pub labels: BTreeMap<String, String>,
    pub time: i64,
    pub text: String,
    pub metadata: BTreeMap<String, String>,
}

/// A value by itself; `Err` if it is none, or one that `serde_json` has no number for.
pub fn value(bytes: &[u8]) -> Result<Value, bool> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string().contains("out of range"))
}

/// A push to Loki that is right in everything, or `None`.
pub fn loki(push: &Value) -> Option<Vec<Pushed>> {
    let mut pushed = Vec::new();
    for stream in push.as_object()?.get("streams")?.as_array()? {
        let labels = strings(stream.get("stream")?)?;
        for entry in stream.get("values").map_or(Some(&Vec::new()), Value::as_array)? {
            let entry = entry.as_array().filter(|entry| entry.len() <= 3)?;
            let time = match entry.first()? {
                Value::String(digits) => digits.parse().ok()?,
                number => number.as_i64()?,
            };
            let text = entry.get(1)?.as_str()?.to_string();
            let metadata = entry.get(2).map_or(Some(BTreeMap::new()), strings)?;
            pushed.push(Pushed { labels: labels.clone(), time, text, metadata });
        }
    }
    Some(pushed)
}

fn strings(value: &Value) -> Option<BTreeMap<String, String>> {
    let pairs = value.as_object()?.iter();
    pairs.map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}
