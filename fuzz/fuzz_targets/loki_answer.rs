//! Any answer of a Loki: it is read without a panic, and a refusal names a label set that stands in it, and only as
//! many as there are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sinks::loki::{REFUSALS_MAX, Which, refusals};

fuzz_target!(|text: &str| {
    let found = refusals(text);
    assert!(found.len() <= REFUSALS_MAX);
    let mut from = 0;
    for refusal in &found {
        // One behind the other: what labels say is not read as a refusal.
        let at = refusal.stream.as_ptr() as usize - text.as_ptr() as usize;
        assert!(at >= from && text[at..].starts_with(refusal.stream));
        from = at + refusal.stream.len();
        assert!(refusal.stream.starts_with('{') && refusal.stream.ends_with('}'));
        if let Which::Some(count) = refusal.which {
            assert!(text[..at].contains(&format!("{count} out of ")));
        }
    }
    // Whatever stands before, an answer of Loki's own words is understood.
    let known = "\ntotal ignored: 3 out of 10 for stream: {app=\"x\"}";
    if !text.contains('{') && !text.contains("stream") {
        assert_eq!(refusals(&format!("{text}{known}")).len(), 1);
    }
});
