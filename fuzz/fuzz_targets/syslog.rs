//! Any bytes, at any time, in any zone of a fixed offset: the parser reads what the oracle reads, within bounds.
#![no_main]

use jiff::tz::{Offset, TimeZone};
use libfuzzer_sys::fuzz_target;
use ringmain::steps::parse::syslog::parse::{Clock, Format, Span, parse};
use ringmain_fuzz::oracle_syslog::{self as oracle, Expected};

fuzz_target!(|data: &[u8]| {
    // The time and the zone, then the message.
    let Some((now_ns, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((offset, message)) = rest.split_first_chunk::<4>() else { return };
    let now_ns = i64::from_le_bytes(*now_ns);
    let offset = i32::from_le_bytes(*offset) % 93_600;
    let Ok(zone) = Offset::from_seconds(offset) else { return };
    let found = parse(message, &Clock::new(TimeZone::fixed(zone), now_ns));

    // `Span::of` panics out of bounds.
    let text = |span: Option<Span>| span.map(|span| span.of(message).to_vec());
    let params = found.params(message).map(|param| {
        let mut value = Vec::new();
        param.unescape_into(&mut value);
        assert!(param.escaped || value == param.raw);
        [param.id.to_vec(), param.name.to_vec(), param.raw.to_vec(), value]
    });
    let found = Expected {
        pri: found.facility * 8 + found.severity,
        format: match found.format {
            Format::Rfc5424 => "5424",
            Format::Rfc3164 => "3164",
            Format::Plain => "plain",
        },
        timestamp: found.timestamp,
        host: text(found.host),
        app: text(found.app),
        procid: text(found.procid),
        msgid: text(found.msgid),
        params: params.collect(),
        message: text(Some(found.message)).unwrap_or_default(),
    };
    assert_eq!(found, oracle::parse(message, now_ns, i64::from(offset)));
});
