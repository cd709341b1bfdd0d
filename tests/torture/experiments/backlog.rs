//! A backlog of 10 GiB: as many segments, each with a record at its beginning and a hole behind it, so that it needs no such disk.

use super::Context;
use super::damage::{Backlog, segments};
use crate::product::Product;
use crate::sink::Sink;
use crate::sink::fault::Act;
use crate::support::{assert_ledger, number, row};
use ringmain::buffer::record::{self, Claim, HEAD, Kind};
use ringmain::buffer::segment::{self, HEADER, Header};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const SEGMENT: u64 = 16 << 20;
const SEGMENTS: u64 = 640;
const READY_MAX: Duration = Duration::from_secs(3);
/// Most memory that a backlog may cost, in KiB.
const RISE_MAX: u64 = 64 << 10;

/// R32.
pub fn ten_gib(context: &mut Context) {
    let backlog = Backlog::make(context);
    let state = backlog.ground.path().join("state");
    let usual = backlog.memory;
    let added = extend(&state);
    let sink = Sink::start(backlog.ground.plan.run);
    sink.always(Act::Refuse(503, None));
    let mut recipe = backlog.ground.recipe.clone();
    recipe.to = sink.port();
    recipe.buffer_size = "20GiB".into();
    let mut product = Product::new(backlog.ground.path());
    product.start(|epoch| recipe.config(epoch));
    let ready = product.ready_after[0];
    let found = number(row(&product.get().stats(), "sinks", "out"), "copies");
    sleep(Duration::from_secs(2));
    let now = memory(product.get().id());
    context.row.times = 1;
    context.row.require(ready <= READY_MAX, || format!("ready after {ready:.1?}"));
    context
        .row
        .require(now <= usual + RISE_MAX, || format!("{now} KiB of memory, {usual} without a backlog"));
    context.row.require(found > added, || format!("{found} entries found, {added} were added"));
    sink.always(Act::Take);
    let stats = product.drain();
    assert_ledger(&stats);
    let out = row(&stats, "sinks", "out");
    let (delivered, lost) =
        (number(out, "delivered"), out["buffer"]["lost_entries"].as_u64().unwrap_or(u64::MAX));
    context.row.require(delivered == found && lost == 0, || {
        format!("{delivered} of {found} delivered, {lost} lost")
    });
    context.row.require(sink.receipts().taken() == found, || format!("{} arrived", sink.receipts().taken()));
    let (code, _) = product.terminate();
    assert_eq!(code, 0);
    context.row.findings.sent = found;
    context.row.note(format!(
        "ready after {} ms, {} MiB of memory, {} without a backlog; {found} entries delivered",
        ready.as_millis(),
        now >> 10,
        usual >> 10
    ));
}

/// Adds segments behind those that are there, each with a copy of the first record, and says how many entries that makes.
fn extend(state: &Path) -> u64 {
    let found = segments(state);
    let first = fs::read(&found[0]).expect("read");
    let header = Header::decode(first.first_chunk::<HEADER>().expect("a header")).expect("a header");
    let (claim, payload) = claim(&first, HEADER, header.salt).expect("a record");
    let buffer = segment::buffer_of(&header);
    let (mut id, mut seq) = (header.id, header.first_seq);
    for path in &found {
        let bytes = fs::read(path).expect("read");
        let name = path.file_name().expect("one").to_string_lossy();
        id = id.max(segment::id_of(&name).unwrap_or(0));
        // The one that is kept in reserve has no header yet.
        let header = bytes.first_chunk::<HEADER>().map(Header::decode);
        let Some(Ok(header)) = header else { continue };
        let mut at = HEADER;
        while let Some((claim, _)) = self::claim(&bytes, at, header.salt) {
            seq = seq.max(record::end(&claim.head));
            at += claim.size() as usize;
        }
    }
    let dir = found[0].parent().expect("a directory");
    for _ in 0..SEGMENTS {
        id += 1;
        let header =
            Header { id, first_seq: seq, salt: segment::salt(buffer, id), capacity: SEGMENT, ..header };
        let mut bytes = header.encode().to_vec();
        let mut record = Vec::new();
        let head = ringmain::buffer::RecordHead { seq, ..claim.head };
        record::write(&mut record, Kind::Data, &head, payload, header.salt);
        bytes.extend(record);
        let mut file = File::create(dir.join(segment::name(id))).expect("created");
        file.write_all(&bytes).expect("written");
        file.set_len(SEGMENT).expect("lengthened");
        seq = record::end(&head);
    }
    SEGMENTS * u64::from(claim.head.entries)
}

fn claim(bytes: &[u8], at: usize, salt: u64) -> Option<(Claim, &[u8])> {
    let head = bytes.get(at..)?.first_chunk::<HEAD>()?;
    let claim = Claim::read(head, salt)?;
    let payload = bytes.get(at + HEAD..)?.get(..claim.head.len as usize)?;
    claim.holds(head, payload, salt).then_some((claim, payload))
}

/// Resident memory of a process, in KiB.
pub fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}
