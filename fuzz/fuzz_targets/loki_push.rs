//! Any bytes as a push to Loki in protobuf: what prost reads of it is what we take, and what we take of what prost does
//! not read is a beginning that was whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use ringmain::sources::body::{LabelText, Reader};
use ringmain_fuzz::oracle_push::Push;
use ringmain_fuzz::taking::{Outcome, take};

fuzz_target!(|body: &[u8]| {
    let Outcome { taken, refused } = take(Reader::loki_proto(), body);
    let Ok(push) = Push::decode(body) else { return };
    // Groups, which prost passes over, and messages in pieces, which it joins.
    if refused.iter().any(|refused| refused.why.to_string() == "malformed protobuf") {
        return;
    }
    let mut taken = taken.iter();
    let mut refusals = 0;
    for stream in &push.streams {
        let Ok(labels) = LabelText::Written(&stream.labels).read(64) else {
            refusals += 1;
            continue;
        };
        for entry in &stream.entries {
            let time = entry.timestamp.as_ref().map(|time| {
                let nanos = (0..1_000_000_000).contains(&time.nanos).then_some(i64::from(time.nanos))?;
                time.seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
            });
            let bytes: usize = entry.metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum();
            let odd = |name: &str| name.is_empty() || name.len() > 1024;
            if time == Some(None)
                || entry.metadata.len() > 128
                || bytes > 64 << 10
                || entry.metadata.iter().any(|pair| odd(&pair.name))
            {
                refusals += 1;
                continue;
            }
            let ours = taken.next().expect("taken or refused");
            assert_eq!((&ours.labels, &ours.text, ours.time), (&labels, &entry.line, time.flatten()));
            let theirs = entry.metadata.iter().map(|pair| (&pair.name, &pair.value));
            assert!(ours.fields.iter().map(|(name, value)| (name, value)).eq(theirs));
        }
    }
    assert!(taken.next().is_none());
    assert_eq!(refused.len(), refusals);
});
