//! What generated entries look like.

use jiff::Timestamp;
use std::io::Write;

/// When the first line was said, in milliseconds since 1970: 2026-01-01.
const EPOCH: i64 = 1_767_225_600_000;
const LEVELS: [&str; 4] = ["info", "info", "warn", "error"];
const METHODS: [&str; 4] = ["GET", "GET", "POST", "DELETE"];
const STATUSES: [u16; 5] = [200, 200, 204, 404, 500];
const SERVICES: [&str; 4] = ["checkout", "search", "login", "cart"];

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Words, the number first
    Plain,
    /// One JSON object
    Json,
    /// The combined format of nginx and Apache
    Nginx,
    /// key=value pairs
    Logfmt,
    /// RFC 3164, as old syslogs send it
    Syslog3164,
    /// RFC 5424
    Syslog5424,
    /// Log4j lines, every fourth or so with a stack trace of several lines
    Java,
}

/// Makes entries.
pub(super) struct Lines {
    kind: Kind,
    seed: u64,
    size: usize,
    now: bool,
}

/// What the words of one entry are chosen from.
struct Choice {
    number: u64,
    random: fastrand::Rng,
    time: Timestamp,
}

impl Lines {
    /// Entries of `kind`, filled up to `size` bytes, with the present time if `now`.
    pub(super) fn new(kind: Kind, seed: u64, size: usize, now: bool) -> Self {
        Lines { kind, seed, size, now }
    }

    /// Appends the entry with this number, without a newline behind it.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) {
        let time = match self.now {
            true => Timestamp::now(),
            false => {
                Timestamp::from_millisecond(EPOCH.saturating_add_unsigned(number)).unwrap_or(Timestamp::MAX)
            }
        };
        // Each entry has a generator of its own, so that none depends on those before it.
        let random = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut choice = Choice { number, random, time };
        let start = out.len();
        match self.kind {
            Kind::Plain => choice.plain(out),
            Kind::Json => choice.json(out),
            Kind::Nginx => choice.nginx(out),
            Kind::Logfmt => choice.logfmt(out),
            Kind::Syslog3164 => choice.syslog_3164(out),
            Kind::Syslog5424 => choice.syslog_5424(out),
            Kind::Java => choice.java(out),
        }
        // Where the text of each kind has its filling, a byte is put that stands nowhere else.
        let Some(at) = out[start..].iter().position(|byte| *byte == FILL).map(|at| start + at) else {
            return;
        };
        let missing = self.size.saturating_sub(out.len() - start - 1);
        let fill: Vec<u8> = (0..missing).map(|_| choice.random.lowercase() as u8).collect();
        out.splice(at..=at, fill);
    }
}

const FILL: u8 = 0;

/// Writing to memory cannot fail.
macro_rules! put {
    ($out:expr, $($said:tt)*) => {{ let _ = write!($out, $($said)*); }};
}

impl Choice {
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())]
    }

    fn plain(&mut self, out: &mut Vec<u8>) {
        let (number, level, service) = (self.number, self.of(&LEVELS), self.of(&SERVICES));
        put!(
            out,
            "{number} {level} {service}: request {} took {} ms\0",
            self.random.u32(..),
            self.random.u16(..2000)
        );
    }

    fn json(&mut self, out: &mut Vec<u8>) {
        let (number, time) = (self.number, self.time);
        let (level, service, status) = (self.of(&LEVELS), self.of(&SERVICES), self.of(&STATUSES));
        put!(
            out,
            r#"{{"time":"{time:.3}","n":{number},"level":"{level}","service":"{service}","status":{status},"duration_ms":{}.5,"message":"request \"{:08x}\" finished{}"}}"#,
            self.random.u16(..2000),
            self.random.u32(..),
            '\0'
        );
    }

    fn nginx(&mut self, out: &mut Vec<u8>) {
        let (number, method, status) = (self.number, self.of(&METHODS), self.of(&STATUSES));
        let time = self.time.strftime("%d/%b/%Y:%H:%M:%S +0000");
        put!(
            out,
            r#"10.{}.{}.{} - - [{time}] "{method} /api/v1/orders?n={number}{} HTTP/1.1" {status} {} "-" "gen/1.0""#,
            self.random.u8(..),
            self.random.u8(..),
            self.random.u8(1..),
            '\0',
            self.random.u16(..)
        );
    }

    fn logfmt(&mut self, out: &mut Vec<u8>) {
        let (number, time) = (self.number, self.time);
        let (level, service) = (self.of(&LEVELS), self.of(&SERVICES));
        put!(
            out,
            "time={time:.3} level={level} n={number} service={service} duration={}ms msg=\"request \\\"{:08x}\\\" finished\0\"",
            self.random.u16(..2000),
            self.random.u32(..)
        );
    }

    fn syslog_3164(&mut self, out: &mut Vec<u8>) {
        let (number, priority, service) = (self.number, self.of(&[11_u8, 12, 14, 30]), self.of(&SERVICES));
        let time = self.time.strftime("%b %e %H:%M:%S");
        put!(
            out,
            "<{priority}>{time} host{} {service}[{}]: n={number} request done\0",
            self.random.u8(..8),
            self.random.u16(1..)
        );
    }

    fn syslog_5424(&mut self, out: &mut Vec<u8>) {
        let (number, priority, service) = (self.number, self.of(&[11_u8, 12, 14, 30]), self.of(&SERVICES));
        let time = self.time;
        put!(
            out,
            "<{priority}>1 {time:.3} host{} {service} {} - [gen@32473 n=\"{number}\"] request done\0",
            self.random.u8(..8),
            self.random.u16(1..)
        );
    }

    fn java(&mut self, out: &mut Vec<u8>) {
        let (number, service) = (self.number, self.of(&SERVICES));
        let time = self.time.strftime("%Y-%m-%d %H:%M:%S,%3f");
        let fails = self.random.u8(..4) == 0;
        let level = if fails { "ERROR" } else { "INFO " };
        put!(
            out,
            "{time} {level} [worker-{}] com.example.{service}.Handler - n={number} request handled\0",
            self.random.u8(..16)
        );
        if fails {
            put!(out, "\njava.lang.IllegalStateException: order {} is gone", self.random.u32(..));
            self.frames(out);
            put!(out, "\nCaused by: java.io.IOException: connection reset");
            self.frames(out);
            put!(out, "\n\t... {} more", self.random.u8(1..40));
        }
    }

    fn frames(&mut self, out: &mut Vec<u8>) {
        for _ in 0..self.random.u8(2..8) {
            let service = self.of(&SERVICES);
            put!(
                out,
                "\n\tat com.example.{service}.Handler.handle(Handler.java:{})",
                self.random.u16(1..900)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn entry(kind: Kind, number: u64, size: usize) -> String {
        let mut out = Vec::new();
        Lines::new(kind, 5, size, false).write(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_says_its_number_is_as_long_as_asked_and_always_the_same() {
        for kind in Kind::value_variants() {
            for number in [0, 7, 1_000_000] {
                let (short, long) = (entry(*kind, number, 0), entry(*kind, number, 2000));
                assert_eq!(long.len(), 2000, "{kind:?}");
                assert!(short.contains(&number.to_string()) && long.contains(&number.to_string()), "{short}");
                assert_eq!(short, entry(*kind, number, 0));
                assert!(short.len() < 1200 && !long.contains('\0'), "{short}");
                assert_eq!(short.contains('\n'), *kind == Kind::Java && short.contains("ERROR"), "{short}");
            }
        }
    }

    #[test]
    fn kinds_are_what_they_say() {
        let json: serde_json::Value = serde_json::from_str(&entry(Kind::Json, 3, 300)).unwrap();
        assert_eq!((&json["n"], &json["time"]), (&3.into(), &"2026-01-01T00:00:00.003Z".into()));
        let nginx = entry(Kind::Nginx, 3, 0);
        assert!(
            nginx.contains("[01/Jan/2026:00:00:00 +0000] \"") && nginx.ends_with(" \"-\" \"gen/1.0\""),
            "{nginx}"
        );
        let old = entry(Kind::Syslog3164, 3, 0);
        assert!(old.starts_with('<') && old.contains(">Jan  1 00:00:00 host"), "{old}");
        let new = entry(Kind::Syslog5424, 3, 0);
        assert!(
            new.contains(">1 2026-01-01T00:00:00.003Z host") && new.contains("[gen@32473 n=\"3\"]"),
            "{new}"
        );
        let traces =
            (0..100).filter(|number| entry(Kind::Java, *number, 0).contains("\n\tat com.example.")).count();
        assert!((10..50).contains(&traces), "{traces} of 100 have a stack trace");
        assert!(entry(Kind::Java, 3, 0).starts_with("2026-01-01 00:00:00,003 "));
    }
}
