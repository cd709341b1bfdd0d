//! Order within streams, while requests fail and several are out at once.

use super::Context;
use crate::generate::file;
use crate::ground::{Ground, Profile};
use crate::sink::fault::{Act, Timeline};
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
    let findings = ground.settle(true);
    context.row.add(&findings);
    context.row.times = u64::from(STREAMS);
    let refused = ground.sink.notes().iter().filter(|note| !note.answered || note.status != 204).count();
    context.row.note(format!("{refused} of {} requests failed", ground.sink.notes().len()));
}
