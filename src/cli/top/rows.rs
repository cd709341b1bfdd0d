//! Sources, steps and sinks as rows of tables, the busiest first.

use super::line::Style;
use super::sample::{Between, Sink, Source, Stats};
use super::table::{Column, Row, Table};
use super::text::{bytes, count, percent, time};
use std::collections::HashMap;

const fn column(title: &'static str, spare: u8) -> Column {
    Column { title, words: false, spare }
}

/// What it is; the first to be left out.
const KIND: Column = Column { title: "type", words: true, spare: 9 };

/// What there is of a rate, or a dash.
fn rate(rate: Option<f64>, text: fn(f64) -> String) -> String {
    rate.map_or("-".into(), text)
}

fn sum(dropped: &HashMap<String, u64>) -> u64 {
    dropped.values().sum()
}

/// Makes rows of what there is, by load; but what needs somebody is never cut off.
fn by_load(mut rows: Vec<(f64, Row)>) -> Vec<Row> {
    let needs = |row: &Row| row.rest.0 == Style::Alarm;
    rows.sort_by(|(a, one), (b, other)| needs(other).cmp(&needs(one)).then(b.total_cmp(a)));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The ways in.
pub fn sources(now: &Stats, between: &Between<'_>) -> Table {
    let shown = now.sources.iter().filter(|source| !source.removed || source.in_transit > 0);
    let rows = shown.map(|source| {
        let before = between.source(&source.name);
        let entries = between.rate(before.map(|before| before.received), source.received);
        let size = between.rate(before.map(|before| before.received_bytes), source.received_bytes);
        let lag = match (source.lag_bytes, source.lag_ms) {
            (0, _) => "-".into(),
            (lag, 0) => bytes(lag as f64),
            (lag, ms) => format!("{} {}", bytes(lag as f64), time(ms as f64 / 1e3)),
        };
        let cells = vec![
            source.kind.clone(),
            rate(entries, count),
            rate(size, |size| bytes(size) + "/s"),
            if source.streams == 0 { "-".into() } else { source.streams.to_string() },
            lag,
        ];
        let rest = of_source(source, before, between);
        let quiet = entries == Some(0.0) && rest.0 == Style::Plain;
        (entries.unwrap_or(0.0), Row { name: source.name.clone(), cells, rest, quiet })
    });
    Table {
        title: "SOURCE",
        columns: vec![KIND, column("in/s", 0), column("bytes", 1), column("streams", 2), column("behind", 0)],
        rows: by_load(rows.collect()),
    }
}

fn of_source(source: &Source, before: Option<&Source>, between: &Between<'_>) -> (Style, String) {
    let more = |of: fn(&Source) -> u64| between.rate(before.map(of), of(source)).unwrap_or(0.0);
    let drops = more(|source| sum(&source.dropped)) + more(|source| source.kernel_drops);
    if drops > 0.0 {
        return (Style::Alarm, format!("drops {}/s", count(drops)));
    }
    if source.removed {
        return (Style::Plain, "removed".into());
    }
    if !source.gate_open {
        return (Style::Warning, "stopped: a sink is full".into());
    }
    if let Some(why) = &source.unwell {
        return (Style::Warning, why.clone());
    }
    let (blocked, paced) = (more(|source| source.blocked), more(|source| source.paced));
    if paced > 0.0 {
        return (Style::Plain, "paced: its rate limit".into());
    }
    if blocked > 0.0 {
        return (Style::Plain, "waits for room".into());
    }
    (Style::Plain, "reads".into())
}

/// What workers do.
pub fn steps(now: &Stats, between: &Between<'_>) -> Table {
    let mut rows = Vec::new();
    for source in now.sources.iter().filter(|source| !source.removed) {
        let before = between.source(&source.name);
        for (at, step) in source.steps.iter().enumerate() {
            // Another pipeline may be there since.
            let before = before
                .and_then(|before| before.steps.get(at))
                .filter(|before| before.verb == step.verb && before.entries <= step.entries);
            let busy = between.rate_of(before.map(|before| before.seconds), step.seconds);
            let entries = between.rate(before.map(|before| before.entries), step.entries);
            let per = match (busy, entries) {
                (Some(busy), Some(entries)) if entries > 0.0 => format!("{:.0} ns", busy / entries * 1e9),
                _ => "-".into(),
            };
            let gone = between.rate(before.map(|before| before.discarded), step.discarded);
            let errors = between.rate(before.map(|before| before.errors), step.errors).unwrap_or(0.0);
            let rest = match errors > 0.0 {
                true => (Style::Warning, format!("cannot work on {}/s", count(errors))),
                false => (Style::Plain, String::new()),
            };
            let cells = vec![rate(entries, count), rate(gone, count), rate(busy, percent), per];
            let name = format!("{}/{} {}", source.name, step.step, step.verb);
            let quiet = entries == Some(0.0);
            rows.push((busy.unwrap_or(0.0), Row { name, cells, rest, quiet }));
        }
    }
    Table {
        title: "STEP",
        columns: vec![column("in/s", 0), column("takes out/s", 1), column("busy", 0), column("each", 2)],
        rows: by_load(rows),
    }
}

/// The ways out.
pub fn sinks(now: &Stats, between: &Between<'_>) -> Table {
    let shown = now.sinks.iter().filter(|sink| !sink.removed || sink.in_flight > 0);
    let rows = shown.map(|sink| {
        let before = between.sink(&sink.name);
        let rate_of = |of: fn(&Sink) -> u64| between.rate(before.map(of), of(sink));
        let entries = rate_of(|sink| sink.delivered);
        let batch = match (entries, rate_of(|sink| sink.batches)) {
            (Some(entries), Some(batches)) if batches > 0.0 => count((entries / batches).round()),
            _ => "-".into(),
        };
        let latency = |share| match percentile(sink, share) {
            Some(ms) => time(ms / 1e3),
            None => "-".into(),
        };
        let waits = match (sink.lane.entries, sink.lane.oldest_ms) {
            (0, _) => "-".into(),
            (waits, age) => format!("{} {}", count(waits as f64), time(age as f64 / 1e3)),
        };
        let buffer = match &sink.buffer {
            Some(buffer) => format!("{} {}", count(buffer.entries as f64), bytes(buffer.bytes as f64)),
            None => "-".into(),
        };
        let cells = vec![
            sink.kind.clone(),
            rate(entries, count),
            rate(rate_of(|sink| sink.delivered_bytes), |size| bytes(size) + "/s"),
            batch,
            format!("{}/{}", sink.batches_out, sink.lane.batches_out_limit),
            waits,
            buffer,
            latency(0.5),
            latency(0.99),
        ];
        let rest = of_sink(sink, before, between);
        let quiet = entries == Some(0.0) && rest.0 == Style::Plain;
        (entries.unwrap_or(0.0), Row { name: sink.name.clone(), cells, rest, quiet })
    });
    Table {
        title: "SINK",
        columns: vec![
            KIND,
            column("out/s", 0),
            column("bytes", 5),
            column("batch", 4),
            column("sends", 2),
            column("waiting", 0),
            column("on disk", 1),
            column("p50", 3),
            column("p99", 1),
        ],
        rows: by_load(rows.collect()),
    }
}

fn of_sink(sink: &Sink, before: Option<&Sink>, between: &Between<'_>) -> (Style, String) {
    let more = |of: fn(&Sink) -> u64| between.rate(before.map(of), of(sink)).unwrap_or(0.0);
    let why = || sink.last_error.as_deref().map_or(String::new(), |error| format!(": {error}"));
    let drops = more(|sink| sum(&sink.dropped));
    if drops > 0.0 {
        return (Style::Alarm, format!("drops {}/s", count(drops)));
    }
    if sink.denied_since > 0 {
        return (Style::Alarm, format!("not let in for {}{}", time(sink.denied_ms as f64 / 1e3), why()));
    }
    if !matches!(sink.breaker.state.as_str(), "closed" | "") {
        let state = sink.breaker.state.replace('_', " ");
        return (
            Style::Alarm,
            format!("breaker {state} {}{}", time(sink.breaker.open_ms as f64 / 1e3), why()),
        );
    }
    if sink.state == "retrying" {
        return (Style::Warning, format!("attempt {}{}", sink.attempt, why()));
    }
    if let Some(why) = &sink.unwell {
        return (Style::Warning, why.clone());
    }
    if let Some(why) = sink.buffer.as_ref().and_then(|buffer| buffer.degraded.as_ref()) {
        return (Style::Alarm, format!("buffer: {why}"));
    }
    let letters = more(|sink| sink.dead_lettered);
    if letters > 0.0 {
        return (Style::Warning, format!("dead letters {}/s", count(letters)));
    }
    if sink.lane.gate_closed {
        return (Style::Warning, "full: its sources stop".into());
    }
    (Style::Plain, if sink.removed { "removed" } else { "ok" }.into())
}

/// How long the last requests took, so that this share of them took no longer.
fn percentile(sink: &Sink, share: f64) -> Option<f64> {
    let mut all: Vec<f64> = sink.history.iter().map(|request| request.latency_ms).collect();
    all.sort_by(f64::total_cmp);
    let place = (share * all.len() as f64).ceil() as usize;
    all.get(place.max(1) - 1).copied()
}
