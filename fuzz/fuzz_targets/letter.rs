//! A dead letter's bytes, and the records that carry it: what is taken for a letter is what it is written as, and reading
//! never takes more memory than the bytes there are.
#![no_main]
use libfuzzer_sys::fuzz_target;
use ringmain::delivery::dlq::letter::DeadLetter;
use ringmain::delivery::dlq::pieces::{Came, Gatherer, cut};
use ringmain::delivery::dlq::show;

fn whole(bytes: &[u8]) {
    let Ok(letter) = DeadLetter::decode(bytes) else { return };
    let mut again = Vec::new();
    letter.encode(&mut again);
    assert_eq!(again, bytes);
    let shown = show::json(1, &letter).to_string();
    let read: Result<serde_json::Value, _> = serde_json::from_str(&shown);
    // A field's JSON may be as deep as a reader goes, and stands deeper here.
    let too_deep = |error: &serde_json::Error| error.to_string().contains("recursion limit");
    assert!(read.as_ref().err().is_none_or(too_deep), "{shown}");
    assert!(show::row(1, &letter).iter().all(|cell| !cell.contains('\n')));
}

fuzz_target!(|bytes: &[u8]| {
    whole(bytes);
    // As records of any contents, one behind each newline.
    let mut gatherer = Gatherer::default();
    for (number, payload) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if let Ok(Came::Letter { bytes, .. }) = gatherer.take(number as u64, payload) {
            whole(&bytes);
        }
    }
    // And cut by ourselves: it comes together again.
    let (mut gatherer, mut number, mut came) = (Gatherer::default(), 0, None);
    let most = 8 + usize::from(bytes.first().copied().unwrap_or(0));
    let cut: Result<(), ()> = cut(bytes, most, |piece| {
        assert!(piece.len() <= most);
        came = gatherer.take(number, piece).ok();
        number += 1;
        Ok(())
    });
    assert!(cut.is_ok());
    let Some(Came::Letter { number: 0, records, bytes: together }) = came else { panic!("it is whole") };
    assert_eq!((u64::from(records), &together[..]), (number, bytes));
});
