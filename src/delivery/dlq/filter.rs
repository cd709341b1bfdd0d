//! Which letters somebody means: by sink, reason, source and time.

use crate::delivery::letters::LetterReason;
use crate::units;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// What is known of a letter without its text.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The sink that refused it.
    pub sink: &'a str,
    /// The source of its entry.
    pub source: &'a str,
    /// Why it is one.
    pub reason: LetterReason,
    /// When it became one, in milliseconds since 1970-01-01 UTC.
    pub dead_ms: u64,
}

/// Which letters are meant; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Refused by this sink; empty text: by a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For this reason.
    #[serde(skip_serializing_if = "Option::is_none", with = "reason")]
    pub reason: Option<LetterReason>,
    /// Dead since then, in milliseconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Dead before then, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// At most so many, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Filter {
    /// Whether the letter is meant, the limit aside.
    pub fn takes(&self, facts: Facts<'_>) -> bool {
        self.sink.as_deref().is_none_or(|sink| sink == facts.sink)
            && self.source.as_deref().is_none_or(|source| source == facts.source)
            && self.reason.is_none_or(|reason| reason == facts.reason)
            && self.since_ms.is_none_or(|since| facts.dead_ms >= since)
            && self.until_ms.is_none_or(|until| facts.dead_ms < until)
    }
}

/// A reason by its word.
///
/// Errors: there is none of that name; says which there are.
pub fn reason_named(name: &str) -> Result<LetterReason, String> {
    LetterReason::ALL.into_iter().find(|reason| reason.name() == name).ok_or_else(|| {
        let known: Vec<_> = LetterReason::ALL.into_iter().map(LetterReason::name).collect();
        format!("`{name}` is no reason; there are: {}", known.join(", "))
    })
}

/// A time as people write it: RFC 3339, or how long ago as `2h`. In milliseconds since 1970-01-01 UTC.
///
/// Errors: it is neither.
pub fn time_named(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Some(ago) = units::parse_duration(text) {
        return Ok(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        format!("`{text}` is no time: expected one such as `2026-01-31T12:00:00Z`, or how long ago as `2h`")
    })?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

mod reason {
    use super::*;
    use serde::Serializer;
    use serde::de::Error;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LetterReason>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| reason_named(&name).map_err(D::Error::custom)).transpose()
    }

    pub fn serialize<S: Serializer>(reason: &Option<LetterReason>, serializer: S) -> Result<S::Ok, S::Error> {
        match reason {
            Some(reason) => serializer.serialize_str(reason.name()),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wish_narrows_and_none_takes_all() {
        let facts = Facts { sink: "out", source: "app", reason: LetterReason::Denied, dead_ms: 1000 };
        let all = Filter::default();
        assert!(all.takes(facts));
        let some = |text| Some(String::from(text));
        let cases: [(Filter, bool); 9] = [
            (Filter { sink: some("out"), ..all.clone() }, true),
            (Filter { sink: some(""), ..all.clone() }, false),
            (Filter { source: some("app"), ..all.clone() }, true),
            (Filter { source: some("other"), ..all.clone() }, false),
            (Filter { reason: Some(LetterReason::Denied), ..all.clone() }, true),
            (Filter { reason: Some(LetterReason::Panic), ..all.clone() }, false),
            (Filter { since_ms: Some(1000), ..all.clone() }, true),
            (Filter { since_ms: Some(1001), ..all.clone() }, false),
            (Filter { until_ms: Some(1000), ..all }, false),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.takes(facts), expected, "{filter:?}");
        }
    }

    #[test]
    fn times_and_reasons_are_read_as_people_write_them() {
        assert_eq!(time_named("2s", 10_000), Ok(8_000));
        assert_eq!(time_named("1970-01-01T00:00:05Z", 10_000), Ok(5_000));
        assert!(time_named("yesterday", 0).unwrap_err().contains("2026-01-31T12:00:00Z"));
        assert_eq!(reason_named("panic"), Ok(LetterReason::Panic));
        assert!(reason_named("x").unwrap_err().contains("retries_spent"));
        let read: Filter = serde_json::from_str(r#"{"reason":"denied","limit":3}"#).unwrap();
        assert_eq!((read.reason, read.limit), (Some(LetterReason::Denied), Some(3)));
        assert!(serde_json::from_str::<Filter>(r#"{"sinks":"x"}"#).is_err());
    }
}
