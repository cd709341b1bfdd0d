//! Both tiers of the checkpoint, fed with anything: they never panic, and what they accept is exactly what they write.
#![no_main]
use libfuzzer_sys::fuzz_target;
use ringmain::checkpoint::{durable, fast};

fn whole(bytes: &[u8]) {
    if let Ok(snapshot) = durable::decode(bytes) {
        assert_eq!(durable::encode(&snapshot), bytes);
    }
}

fn slot(bytes: &[u8; fast::SLOT]) {
    if let Some(slot) = fast::Slot::decode(bytes) {
        assert_eq!(slot.encode().as_ref(), Some(bytes));
    }
}

fuzz_target!(|bytes: &[u8]| {
    whole(bytes);
    // With the right checksum, or nothing but the checksum would ever be tried.
    let mut sealed = bytes.to_vec();
    durable::seal(&mut sealed);
    whole(&sealed);

    let mut one = [0; fast::SLOT];
    let len = bytes.len().min(one.len());
    one[..len].copy_from_slice(&bytes[..len]);
    slot(&one);
    fast::seal(&mut one);
    slot(&one);

    fast::decode(bytes, b"00000000-0000-0000-0000-000000000000");
});
