//! One frame: two looks at an instance, and a size, become lines.

use super::line::{Line, Style};
use super::rows::{sinks, sources, steps};
use super::sample::{Between, Look, Stats, Thread};
use super::table::cut;
use super::text::{bytes, count, percent, time};

/// What a frame is made of.
pub struct Scene<'a> {
    /// Where it is asked.
    pub address: &'a str,
    /// The look before, if there was one.
    pub before: Option<&'a Look>,
    pub now: &'a Look,
    /// How often it was found to be another run than before.
    pub restarts: u32,
    /// For how many seconds there was no answer, and why.
    pub away: Option<(f64, &'a str)>,
}

/// The room there is; without a height as much as is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: Option<usize>,
}

/// What is wrong, most of it that is shown.
const REASONS_MAX: usize = 3;
/// A thread takes this much room at least.
const THREAD_MIN: usize = 39;
/// More than this is of no use to it.
const THREAD_MAX: usize = 54;
/// What a table keeps when there is little room, before others have what they want.
const ROWS_MIN: usize = 2;

/// Draws the scene.
pub fn frame(scene: &Scene<'_>, size: Size) -> Vec<Line> {
    let stats = &scene.now.stats;
    let between = Between::new(scene.before.map(|look| &look.stats), stats);
    let mut lines = head(scene, &between, size.width);
    let tables = [sources(stats, &between), sinks(stats, &between), steps(stats, &between)];
    let columns = (size.width / THREAD_MIN).max(1);
    let threads = threads(stats, &between);
    let mut wanted: Vec<usize> = tables.iter().map(|table| table.rows.len()).collect();
    wanted.push(threads.len().div_ceil(columns));
    let (given, airy) = share_out(&wanted, size.height.map(|height| height.saturating_sub(lines.len())));
    for (table, rows) in tables.iter().zip(&given).filter(|(_, rows)| **rows > 0) {
        lines.extend(airy.then(Line::default));
        lines.extend(table.lines(*rows, size.width));
    }
    if let Some(rows) = given.last().filter(|rows| **rows > 0) {
        lines.extend(airy.then(Line::default));
        lines.extend(thread_lines(&threads, *rows, columns, size.width));
    }
    lines.truncate(size.height.unwrap_or(usize::MAX));
    lines.into_iter().map(|line| line.cut(size.width)).collect()
}

/// How many rows each table has of the lines there are, and whether there is room for an empty line before each.
fn share_out(wanted: &[usize], height: Option<usize>) -> (Vec<usize>, bool) {
    let tables = wanted.iter().filter(|rows| **rows > 0).count();
    let all: usize = wanted.iter().sum();
    let Some(height) = height else { return (wanted.to_vec(), true) };
    if all + 2 * tables <= height {
        return (wanted.to_vec(), true);
    }
    let mut left = height.saturating_sub(tables);
    let mut given: Vec<usize> = Vec::with_capacity(wanted.len());
    for rows in wanted {
        let some = ROWS_MIN.min(*rows).min(left);
        left -= some;
        given.push(some);
    }
    while left > 0 && given != wanted {
        for (rows, wanted) in given.iter_mut().zip(wanted) {
            let more = usize::from(*rows < *wanted).min(left);
            *rows += more;
            left -= more;
        }
    }
    (given, false)
}

/// Who it is and how it is; what all of it does.
fn head(scene: &Scene<'_>, between: &Between<'_>, width: usize) -> Vec<Line> {
    let Scene { address, now, restarts, away, .. } = scene;
    let stats = &now.stats;
    let began = match restarts {
        0 => String::new(),
        1 => " (began anew once)".into(),
        times => format!(" (began anew {times} times)"),
    };
    let who = format!("ringmain {} at {address}, up {}{began}, ", stats.version, time(stats.uptime_seconds));
    let (style, how) = match (away, stats.phase.as_str(), now.health.status.as_str()) {
        (Some((seconds, _)), ..) => (Style::Alarm, format!("gone for {}", time(*seconds))),
        (_, "running", "ok") => (Style::Plain, "healthy".into()),
        (_, "running", "degraded") => (Style::Warning, "degraded".into()),
        (_, "running", other) => (Style::Alarm, other.to_owned()),
        (_, phase, _) => (Style::Warning, phase.to_owned()),
    };
    let mut lines = vec![Line(vec![(Style::Plain, who), (style, how)])];
    if let Some((_, why)) = away {
        lines.push(Line::of(Style::Alarm, format!("asked again and again: {why}")));
    } else {
        lines.extend(reasons(now));
    }
    lines.extend(side_by_side(flow(stats, between), width));
    lines.extend(side_by_side(means(stats, between), width));
    lines
}

/// Why it is not well.
fn reasons(now: &Look) -> Vec<Line> {
    let unwell = now.health.components.iter().filter(|component| component.status != "ok");
    let mut all: Vec<_> = unwell.collect();
    // The worse first.
    all.sort_by_key(|component| component.status != "failing");
    let line = |component: &&super::sample::Component| {
        let style = if component.status == "failing" { Style::Alarm } else { Style::Warning };
        let reason = component.reason.as_deref().unwrap_or(&component.status);
        Line::of(style, format!("{}: {reason}", component.name))
    };
    let mut lines: Vec<Line> = all.iter().take(REASONS_MAX).map(line).collect();
    if let (Some(last), true) = (lines.last_mut(), all.len() > REASONS_MAX) {
        last.0.insert(0, (Style::Plain, format!("({} more) ", all.len() - REASONS_MAX)));
    }
    lines
}

/// What goes in and out.
fn flow(now: &Stats, between: &Between<'_>) -> Vec<String> {
    let sources = |stats: &Stats| stats.sources.iter().map(|source| source.received_bytes).sum::<u64>();
    let sinks = |stats: &Stats| stats.sinks.iter().map(|sink| sink.delivered_bytes).sum::<u64>();
    let rate = |of: &dyn Fn(&Stats) -> u64| between.rate(between.before.map(of), of(now));
    let both = |name: &str, entries: Option<f64>, size: Option<f64>| match entries.zip(size) {
        Some((entries, size)) => format!("{name} {}/s, {}/s", count(entries), bytes(size)),
        None => format!("{name} -"),
    };
    let mut said = vec![
        both("in", rate(&|stats| stats.ledger.received), rate(&sources)),
        both("out", rate(&|stats| stats.ledger.delivered), rate(&sinks)),
    ];
    let drops = rate(&|stats| stats.ledger.dropped).filter(|drops| *drops > 0.0);
    said.extend(drops.map(|drops| format!("dropped {}/s", count(drops))));
    let letters = now.dlq.as_ref().map_or(0, |dlq| dlq.letters);
    said.extend((letters > 0).then(|| format!("dead letters {}", count(letters as f64))));
    said
}

/// What it takes of the machine, and how much there is to do.
fn means(now: &Stats, between: &Between<'_>) -> Vec<String> {
    let rate = |of: fn(&Stats) -> f64| between.rate_of(between.before.map(of), of(now));
    let of = |limit: Option<String>| limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let rounded = |cores: f64| format!("{cores:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    let used = rate(|stats| stats.process.cpu_seconds).map_or("-".into(), |used| format!("{used:.2}"));
    let mut said = vec![format!("cpu {used}{} cores", of(now.limit("cpu").map(rounded)))];
    let rests = rate(|stats| stats.cpu_limit_rest_seconds).filter(|rests| *rests >= 0.05);
    said.extend(rests.map(|rests| format!("resting {rests:.1} threads")));
    let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
    let resident = mib(now.process.resident_bytes as f64);
    said.push(format!("rss {resident}{} MiB", of(now.limit("memory").map(mib))));
    let all = now.workers.active + now.workers.idle;
    let workers = now.threads.iter().filter(|thread| thread.name.starts_with("worker-"));
    let busy: Option<f64> = workers.map(|thread| share(thread, between)).sum();
    said.push(format!("workers {} of {all} busy", busy.map_or("-".into(), |busy| format!("{busy:.2}"))));
    let waits = if now.ring.congested { ", sources wait" } else { "" };
    said.push(format!("ring {} full{waits}", percent(now.ring.utilization)));
    said
}

/// Things said, side by side, in as many lines as it takes.
fn side_by_side(said: Vec<String>, width: usize) -> Vec<Line> {
    const GAP: &str = "   ";
    let mut lines: Vec<String> = Vec::new();
    for one in said {
        match lines.last_mut() {
            Some(line) if line.chars().count() + GAP.len() + one.chars().count() <= width => {
                line.push_str(GAP);
                line.push_str(&one);
            }
            _ => lines.push(one),
        }
    }
    lines.into_iter().map(|line| Line::of(Style::Plain, line)).collect()
}

/// How much of a core a thread takes.
fn share(thread: &Thread, between: &Between<'_>) -> Option<f64> {
    between.rate_of(between.thread(thread.tid)?.cpu_seconds, thread.cpu_seconds?)
}

/// A thread and how much of a core it takes.
struct Busy<'a>(&'a Thread, Option<f64>);

fn threads<'a>(now: &'a Stats, between: &Between<'_>) -> Vec<Busy<'a>> {
    let mut all: Vec<Busy<'_>> =
        now.threads.iter().map(|thread| Busy(thread, share(thread, between))).collect();
    all.sort_by(|a, b| b.1.unwrap_or(0.0).total_cmp(&a.1.unwrap_or(0.0)));
    all
}

/// The busiest threads in columns beside each other, each from top to bottom.
fn thread_lines(threads: &[Busy<'_>], rows: usize, columns: usize, width: usize) -> Vec<Line> {
    let shown = threads.len().min(rows * columns);
    let title = match shown < threads.len() {
        true => format!("THREAD {shown}/{}", threads.len()),
        false => "THREAD".into(),
    };
    // Two letters between them.
    let each = ((width + 2) / columns.min(shown.div_ceil(rows.max(1))).max(1) - 2).min(THREAD_MAX);
    let doing = if each > 45 { 16 } else { 11 };
    let name = each.saturating_sub(doing + 2 + 4 + 2 + 5).max(6);
    let cell = |name_: &str, doing_: &str, core: &str, cpu: &str| {
        format!("{:<name$} {:<doing$} {core:>4} {cpu:>6}", cut(name_, name), cut(doing_, doing))
    };
    let head: Vec<String> = (0..shown.div_ceil(rows.max(1)))
        .map(|column| cell(if column == 0 { &title } else { "" }, "does", "core", "cpu"))
        .collect();
    let head = head.join("  ");
    let mut lines = vec![Line::of(Style::Head, format!("{head:<width$}"))];
    for row in 0..rows.min(shown) {
        let mut line = Line::default();
        for Busy(thread, share) in threads[..shown].iter().skip(row).step_by(rows) {
            let (style, does) = match (thread.lost, thread.doing.as_str()) {
                (true, _) => (Style::Alarm, "lost"),
                (_, "rests: cpu_limit") if doing < 16 => (Style::Plain, "rests (cpu)"),
                (_, does) if share.is_some_and(|share| share < 0.0005) => (Style::Quiet, does),
                (_, does) => (Style::Plain, does),
            };
            let core = thread.core.map_or("-".into(), |core| core.to_string());
            let cpu = share.map_or("-".into(), percent);
            if !line.0.is_empty() {
                line.0.push((Style::Plain, "  ".into()));
            }
            line.0.push((style, cell(&thread.name, does, &core, &cpu)));
        }
        lines.push(line);
    }
    lines
}
