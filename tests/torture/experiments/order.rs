//! Order within streams, while requests fail and several are out at once.

use super::Context;
use crate::check::compare;
use crate::generate::{file, udp};
use crate::ground::{Ground, Profile};
use crate::sink::fault::{Act, Timeline};
use crate::support::{assert_ledger, number, row};
use std::thread::sleep;
use std::time::Duration;

const STREAMS: u32 = 1_000;

pub fn thousand(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    ground.recipe.sink = ", concurrency: 2, timeout: 1s".into();
    ground.recipe.further = "dispatcher: { worker_count: 8 }\n".into();
    ground.sink.set(Timeline::mix(
        ground.random.u64(..),
        vec![
            (16, Act::Take),
            (2, Act::Refuse(503, None)),
            (1, Act::ResetBefore),
            (1, Act::ResetAfter),
            (2, Act::Slow(Duration::from_millis(30))),
        ],
    ));
    ground.plan.rate = 10_000;
    file::spread(&ground.plan, &ground.logs(), STREAMS, &mut ground.generators);
    ground.start();
    sleep(Duration::from_secs(context.times(8, 120)));
    let behind = ground.plan.obligations.sent_count().saturating_sub(ground.sink.receipts().taken());
    ground.sink.always(Act::Take);
    let findings = ground.settle(true);
    context.row.add(&findings);
    context.row.times = u64::from(STREAMS);
    context.row.note(format!("{behind} behind at the end of the faults"));
    let refused = ground.sink.notes().iter().filter(|note| !note.answered || note.status != 204).count();
    context.row.note(format!("{refused} of {} requests failed", ground.sink.notes().len()));
}

/// Nobody can promise a datagram: but what was sent is what was received and what the kernel dropped, to the last one.
pub fn datagrams(context: &mut Context) {
    let mut ground = Ground::new(Profile::D, &mut context.random);
    let (listen, to) = (ground.recipe.listen, ground.recipe.to);
    let config = move |epoch: u32| {
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
             sources: {{ in: {{ type: syslog, listen: [\"udp://{listen}\"], receive_buffer: 64KiB }} }}\n\
             sinks: {{ out: {{ type: http, url: \"http://127.0.0.1:{to}/e{epoch}\" }} }}\n"
        )
    };
    ground.product.start(config);
    ground.plan.rate = 20_000;
    for number in 0..2 {
        udp::start(&ground.plan, listen, number, &mut ground.generators);
    }
    for _ in 0..context.times(4, 60) {
        // Nobody reads meanwhile, and the kernel has room for little.
        ground.product.get().signal("STOP");
        sleep(Duration::from_millis(ground.random.u64(50..300)));
        ground.product.get().signal("CONT");
        sleep(Duration::from_millis(400));
        context.row.times += 1;
    }
    ground.generators.stop();
    let sent = ground.plan.obligations.sent_count();
    let stats = ground.product.get().wait_stats("every datagram is accounted for", |stats| {
        let row = row(stats, "sources", "in");
        crate::product::is_drained(stats) && number(row, "received") + number(row, "kernel_drops") >= sent
    });
    assert_ledger(&stats);
    let source = row(&stats, "sources", "in");
    let (received, dropped) = (number(source, "received"), number(source, "kernel_drops"));
    let findings = compare(&ground.plan.obligations, ground.sink.receipts());
    context.row.require(received + dropped == sent, || {
        format!("{received} received, {dropped} dropped, {sent} sent")
    });
    context.row.require(findings.received == received, || {
        format!("{received} received, {} arrived", findings.received)
    });
    context.row.require(findings.unpromised_lost == dropped, || format!("{dropped} reported, {findings}"));
    context.row.add(&findings);
    context.row.note(format!("{dropped} of {sent} datagrams dropped by the kernel, all counted"));
}
