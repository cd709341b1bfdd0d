//! The destination is away for a while, in every way it can be.

use super::Context;
use crate::ground::{Ground, Profile};
use crate::proxy::{Mode, Proxy};
use crate::sink::fault::Act;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How the destination is away.
enum Away {
    Says(Act),
    Unreachable(Mode),
}

pub fn outages(context: &mut Context) {
    let kinds = [
        ("refused", Away::Unreachable(Mode::Down)),
        ("reset", Away::Unreachable(Mode::Reset)),
        ("blackhole", Away::Unreachable(Mode::Blackhole)),
        ("503", Away::Says(Act::Refuse(503, None))),
        ("429 with Retry-After", Away::Says(Act::Refuse(429, Some(1)))),
        ("reset before", Away::Says(Act::ResetBefore)),
        ("half an answer", Away::Says(Act::Half)),
    ];
    let span = Duration::from_secs(context.times(3, 30));
    for (name, away) in kinds {
        outage(context, name, &away, span);
    }
}

fn outage(context: &mut Context, name: &str, away: &Away, span: Duration) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, ground.sink.port())));
    ground.recipe.to = proxy.port();
    ground.recipe.sink = ", timeout: 1s".into();
    ground.start();
    ground.load();
    sleep(Duration::from_millis(500));
    let before = ground.sink.notes().len();
    match away {
        Away::Says(act) => ground.sink.always(act.clone()),
        Away::Unreachable(mode) => proxy.set(*mode),
    }
    let began = Instant::now();
    sleep(span);
    proxy.set(Mode::Pass);
    ground.sink.always(Act::Take);
    let healed = Instant::now();
    let behind = ground.plan.obligations.sent_count()
        - ground.sink.receipts().taken().min(ground.plan.obligations.sent_count());
    let findings = ground.settle(true);
    let caught_up = healed.elapsed();
    context.row.add(&findings);
    context.row.times += 1;
    let notes = ground.sink.notes();
    let during: Vec<_> = notes[before..].iter().filter(|note| note.at > began && note.at < healed).collect();
    if let Away::Says(Act::Refuse(_, Some(seconds))) = away {
        let told: Vec<_> = during.iter().filter(|note| note.status == 429).collect();
        let gap = told.windows(2).map(|two| two[1].at - two[0].at).min();
        let asked = Duration::from_secs(u64::from(*seconds));
        context.row.require(gap.is_none_or(|gap| gap >= asked), || {
            format!("{name}: tried again after {gap:?}, asked for {asked:?}")
        });
    }
    // What was taken and whose answer did not come back may come again; through a proxy that is not seen from here, and is
    // bounded by a batch a connection.
    let cut: u64 =
        notes.iter().filter(|note| note.taken && !note.answered).map(|note| note.entries as u64).sum();
    let largest = notes.iter().map(|note| note.entries as u64).max().unwrap_or(0);
    let bound = cut + if matches!(away, Away::Unreachable(_)) { largest * proxy.connections() } else { 0 };
    context.row.require(findings.twice <= bound, || {
        format!("{name}: {} came twice, at most {bound} could have lost their answer", findings.twice)
    });
    context.row.note(format!(
        "{name}: {behind} behind, caught up in {:.1} s, {} requests meanwhile, {} twice",
        caught_up.as_secs_f64(),
        during.len(),
        findings.twice
    ));
}
