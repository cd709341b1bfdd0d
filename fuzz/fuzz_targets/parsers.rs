//! Any text: logfmt and access logs are read or refused as the oracles do it, whether the text is an entry's own or stands
//! in a field, and nothing is left of what was refused; error logs stay within their bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::block::{Block, FieldView};
use ringmain::entry::{Entry, Field, Kind, Slice, Space};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::constants::Constants;
use ringmain::steps::parse::input::Input;
use ringmain::steps::parse::logfmt::Logfmt;
use ringmain::steps::parse::nginx::Nginx;
use ringmain::steps::parse::nginx_error::NginxError;
use ringmain::steps::parse::rows::Parse;
use ringmain_fuzz::{oracle_logfmt, oracle_nginx};
use std::sync::Arc;

fuzz_target!(|text: &[u8]| {
    let logfmt = |constants: &mut Constants, input| -> Box<dyn Step> {
        Box::new(Parse::new(Logfmt::new(constants).expect("room"), input))
    };
    let pair = |field: FieldView<'_>| {
        let kind = match field.kind() {
            Kind::Plain | Kind::Escaped => 't',
            Kind::Number => 'n',
            _ => 'b',
        };
        (field.key().to_vec(), field.text().into_owned(), kind)
    };
    assert_eq!(read(text, logfmt, pair), oracle_logfmt::pairs(text));

    let nginx = |constants: &mut Constants, input| -> Box<dyn Step> {
        Box::new(Parse::new(Nginx::new(constants).expect("room"), input))
    };
    let pair = |field: FieldView<'_>| (field.key().to_vec(), field.raw().to_vec());
    assert_eq!(read(text, nginx, pair), oracle_nginx::fields(text));

    let error = |constants: &mut Constants, input| -> Box<dyn Step> {
        let zone = jiff::tz::TimeZone::UTC;
        Box::new(Parse::new(NginxError::new(zone, constants).expect("room"), input))
    };
    read(text, error, pair);
});

/// What the step makes of `text`, as the entry's own text and as a field in the arena; `None` if it refuses it.
fn read<P: PartialEq + std::fmt::Debug>(
    text: &[u8],
    step: impl Fn(&mut Constants, Input) -> Box<dyn Step>,
    pair: impl Fn(FieldView<'_>) -> P,
) -> Option<Vec<P>> {
    let [own, field] = [false, true].map(|in_field| {
        let mut constants = Constants::default();
        let name = constants.intern(b"in").expect("room");
        let input = if in_field { Input::named(Some("in")) } else { Input::Message };
        let step = step(&mut constants, input);
        let mut block = Block::new(text.len().max(1));
        let stream = Stream::new(SourceId(0), "s".into(), "fuzz", "o", Labels::default());
        block.begin_run(&Arc::new(stream));
        let offset = block.append(text).expect("room");
        block.push(Entry::at(offset, text.len() as u32));
        block.reset_side();
        block.set_constants(&constants.finish());
        if in_field {
            let value: Slice = block.store(text).expect("room");
            assert_eq!(value.space, Space::Arena);
            block.set_field(0, Field::new(name, value, Kind::Plain)).expect("room");
        }
        let known = usize::from(in_field);
        let refused = step.apply(&mut block, 0).is_err();
        let fields: Vec<P> = block.view(0).fields().skip(known).map(&pair).collect();
        assert!(!refused || fields.is_empty());
        (!refused).then_some(fields)
    });
    assert_eq!(own, field);
    own
}
