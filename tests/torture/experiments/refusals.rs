//! The destination refuses: single entries for good, or everybody for a while; and what becomes of the dead letters.

use super::Context;
use crate::check::{Findings, Obligations, Receipts, compare_to};
use crate::entry::{self, Kind};
use crate::ground::{Ground, Profile};
use crate::sink::fault::Act;
use crate::support::{assert_ledger, number, row, run};
use serde_json::Value;
use std::thread::sleep;
use std::time::Duration;

/// One entry of so many is poison.
const POISON_EVERY: u64 = 1_000;

/// R23.
pub fn poison(context: &mut Context) {
    for status in [400, 413, 422] {
        for profile in [Profile::A, Profile::B] {
            refused(context, profile, Act::RefusePoison(status), &status.to_string());
        }
    }
}

fn refused(context: &mut Context, profile: Profile, act: Act, name: &str) {
    let mut ground = Ground::new(profile, &mut context.random);
    ground.plan.poison_every = POISON_EVERY;
    ground.sink.always(act);
    ground.start();
    ground.load();
    sleep(Duration::from_secs(context.times(2, 20)));
    ground.generators.stop();
    let stats = ground.product.drain();
    let (code, _) = ground.product.terminate();
    assert_eq!(code, 0, "dead letters are no loss");
    assert_ledger(&stats);
    let letters = letters(&ground);
    let (findings, poisoned) = union(&ground.plan.obligations, &ground, &letters);
    let out = row(&stats, "sinks", "out");
    let dead = number(out, "dead_lettered");
    let (row, letter) = (&mut context.row, profile.letter());
    row.add(&findings);
    row.require_once();
    row.require(dead == poisoned, || {
        format!("{letter} {name}: {dead} dead letters, {poisoned} entries were poison")
    });
    row.require(letters.taken() == dead, || {
        format!("{letter} {name}: {dead} dead letters, {} exported", letters.taken())
    });
    let delivered = number(out, "delivered");
    let arrived = ground.sink.receipts().taken();
    row.require(delivered == arrived, || {
        format!("{letter} {name}: {delivered} delivered, {arrived} arrived")
    });
    // Each poisoned entry is found in 2 * ceil(log2 n) + 1 requests.
    let notes = ground.sink.notes();
    let failed = notes.iter().filter(|note| note.status >= 400).count() as u64;
    let largest = notes.iter().map(|note| note.entries as u64).max().unwrap_or(1);
    let bound = poisoned * (2 * u64::from(largest.next_power_of_two().ilog2()) + 1);
    row.require(failed <= bound, || {
        format!("{letter} {name}: {failed} refused requests for {poisoned}, bound {bound}")
    });
    row.times += poisoned;
    row.note(format!(
        "{letter} {name}: {poisoned} poisoned, {failed} refused requests, at most {bound} allowed"
    ));
}

/// R23, by Loki's own words: it says how many entries of a stream it did not take, but not which. So the number is exact,
/// while the letters are of the oldest entries.
pub fn ignored(context: &mut Context) {
    let mut ground = Ground::new(Profile::B, &mut context.random);
    ground.plan.poison_every = POISON_EVERY;
    ground.sink.always(Act::SkipPoison);
    ground.start();
    ground.load();
    sleep(Duration::from_secs(context.times(2, 20)));
    ground.generators.stop();
    let stats = ground.product.drain();
    let (code, _) = ground.product.terminate();
    assert_eq!(code, 0, "dead letters are no loss");
    assert_ledger(&stats);
    let letters = letters(&ground).taken();
    let (findings, poisoned) = union(&ground.plan.obligations, &ground, &Receipts::default());
    let out = row(&stats, "sinks", "out");
    let (delivered, dead) = (number(out, "delivered"), number(out, "dead_lettered"));
    let row = &mut context.row;
    row.require(dead == poisoned, || format!("{dead} dead letters, {poisoned} entries were poison"));
    row.require(letters == dead, || format!("{dead} dead letters, {letters} exported"));
    row.require(delivered == findings.received, || {
        format!("{delivered} delivered, {} arrived", findings.received)
    });
    let gone = findings.lost + findings.unpromised_lost;
    row.require(gone == poisoned, || format!("{gone} did not arrive, {poisoned} were poison"));
    // What the destination would not take is no loss of the product's.
    row.add(&Findings { lost: 0, ..findings });
    row.require_once();
    row.times = poisoned;
}

/// What `dlq export` gives of a stopped instance.
fn letters(ground: &Ground) -> Receipts {
    let (code, text, said) = run(ground.path(), &["dlq", "export", "--data-dir", "state"]);
    assert_eq!(code, 0, "{said}");
    let receipts = Receipts::default();
    for line in text.lines() {
        receipts.take(0, &[(entry::read(ground.plan.run, line.as_bytes()), line.as_bytes())]);
        let found: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(found.is_object(), "{line}");
    }
    receipts
}

/// Everything that was sent arrived or is a dead letter, and how many of them are poison.
fn union(obligations: &Obligations, ground: &Ground, letters: &Receipts) -> (Findings, u64) {
    let poisoned = obligations.count(|stream, number| ground.plan.id(stream, number).kind == Kind::Poison);
    // Two places, so an order between them says nothing.
    let findings = Findings { inverted: 0, ..compare_to(obligations, &[ground.sink.receipts(), letters]) };
    (findings, poisoned)
}

/// R24.
pub fn kept_out(context: &mut Context) {
    for status in [401, 403, 404] {
        let mut ground = Ground::new(Profile::A, &mut context.random);
        ground.start();
        ground.load();
        sleep(Duration::from_millis(500));
        let before = ground.sink.notes().len();
        ground.sink.always(Act::Refuse(status, None));
        sleep(Duration::from_secs(context.times(2, 600)));
        let attempts = ground.sink.notes().len() - before;
        let log = ground.product.get().log();
        ground.sink.always(Act::Take);
        ground.generators.stop();
        let stats = ground.product.drain();
        let dead = number(row(&stats, "sinks", "out"), "dead_lettered");
        let findings = ground.settle(true);
        let row = &mut context.row;
        row.add(&findings);
        row.require_once();
        row.require(dead == 0, || format!("{status}: {dead} dead letters before the grace was over"));
        row.require(log.contains("ERROR"), || format!("{status}: it does not raise an alarm: {log}"));
        row.times += 1;
        row.note(format!("{status}: {attempts} requests in 2 s, none dead"));
    }
}

/// R37: kills while letters are written; all are given again once the destination is mended.
pub fn letters_survive(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    ground.plan.rate = 250;
    // A batch is taken apart at a measured pace: in a full run that many would take minutes at the end.
    ground.plan.poison_every = context.times(100, 1_000);
    ground.sink.always(Act::RefusePoison(400));
    ground.load();
    for _ in 0..context.times(10, 200) {
        ground.start();
        sleep(Duration::from_millis(ground.random.u64(100..700)));
        ground.product.kill();
        context.row.times += 1;
    }
    ground.start();
    ground.generators.stop();
    ground.product.drain();
    sleep(Duration::from_secs(1));
    ground.product.drain();
    let kept = letters(&ground);
    let (before, poisoned) = union(&ground.plan.obligations, &ground, &kept);
    context.row.require(before.lost == 0, || format!("before the replay: {before}: {:?}", before.examples));
    let count = kept.taken();
    // Given again, one after the other, and killed in the middle of it.
    ground.sink.always(Act::Take);
    let address = ground.product.get().address("admin: http", "http://");
    let replay = ["dlq", "replay", "--admin", &address, "--token", "torture"];
    let (code, said, error) = run(ground.path(), &replay);
    context.row.require(code == 0, || format!("replay ended with {code}: {said}{error}"));
    let left = letters(&ground).taken();
    context.row.require(left == 0, || format!("{left} letters are left after the replay"));
    ground.product.drain();
    let (code, _) = ground.product.terminate();
    assert_eq!(code, 0);
    let after = Findings { inverted: 0, ..compare_to(&ground.plan.obligations, &[ground.sink.receipts()]) };
    context.row.add(&after);
    context.row.note(format!("{poisoned} poisoned, {count} letters kept over the kills, all given again"));
}
