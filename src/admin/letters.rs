//! The dead letters' part of `/metrics`.

use crate::delivery::dlq::numbers::{LettersStats, TallyStats};
use crate::metrics::Page;

/// Adds their numbers to the page.
pub fn rows(page: &Page, letters: &LettersStats) {
    page.gauge(
        "dispatcher_dlq_disk_bytes",
        "Bytes that the files of the dead letters take.",
        &[],
        letters.disk_bytes as f64,
    );
    page.gauge(
        "dispatcher_dlq_oldest_seconds",
        "Age of the oldest dead letter.",
        &[],
        letters.oldest_ms as f64 / 1e3,
    );
    page.counter(
        "dispatcher_dlq_lost_total",
        "Records of dead letters that could not be read any more.",
        &[],
        letters.lost,
    );
    let alarm = letters.alarm.is_some() || letters.trouble.is_some();
    page.gauge(
        "dispatcher_dlq_alarm",
        "1 while letters wait for room, and for an hour after some were dropped at a limit.",
        &[],
        if alarm { 1.0 } else { 0.0 },
    );
    letters.by_reason.iter().for_each(|row| tally(page, row));
}

fn tally(page: &Page, row: &TallyStats) {
    let of = &[("sink", &*row.sink), ("reason", row.reason)];
    page.gauge("dispatcher_dlq_letters", "Dead letters there are.", of, row.letters as f64);
    page.gauge("dispatcher_dlq_bytes", "Bytes of dead letters.", of, row.bytes as f64);
    page.counter("dispatcher_dlq_kept_total", "Entries that became dead letters.", of, row.kept);
    for (limit, count) in &row.dropped {
        let of = &[of[0], of[1], ("limit", limit)];
        page.counter("dispatcher_dlq_dropped_total", "Dead letters dropped at a limit.", of, *count);
    }
    page.counter("dispatcher_dlq_retried_total", "Dead letters tried again by themselves.", of, row.retried);
    page.counter("dispatcher_dlq_replayed_total", "Dead letters given again by hand.", of, row.replayed);
    page.counter(
        "dispatcher_dlq_settled_total",
        "Dead letters given again that are none any more.",
        of,
        row.settled,
    );
    page.counter("dispatcher_dlq_purged_total", "Dead letters removed by hand.", of, row.purged);
}
