//! What is between the product and its destination misbehaves.

use super::Context;
use crate::ground::{Ground, Profile};
use crate::proxy::{Mode, Proxy};
use crate::sink::fault::{Act, Timeline};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The deadline of requests in these experiments.
const TIMEOUT: Duration = Duration::from_secs(1);

pub fn drips(context: &mut Context) {
    let kinds = [
        ("drip", Some(Act::Drip(Duration::from_millis(50))), Mode::Pass),
        ("silence", Some(Act::Silence), Mode::Pass),
        ("half open", None, Mode::HalfOpen),
        ("slow close", None, Mode::SlowClose(Duration::from_secs(30))),
        ("latency", None, Mode::Latency(Duration::from_millis(20))),
    ];
    for (name, act, mode) in kinds {
        for _ in 0..context.times(1, 10) {
            drip(context, name, act.clone(), mode);
        }
    }
}

fn drip(context: &mut Context, name: &str, act: Option<Act>, mode: Mode) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, ground.sink.port())));
    ground.recipe.to = proxy.port();
    ground.recipe.sink = format!(", timeout: {}ms", TIMEOUT.as_millis());
    ground.start();
    ground.load();
    sleep(Duration::from_millis(300));
    let (threads, before) = (threads(ground.product.get().id()), ground.sink.notes().len());
    if let Some(act) = act {
        ground.sink.always(act);
    }
    proxy.set(mode);
    sleep(TIMEOUT * 4);
    let now = self::threads(ground.product.get().id());
    // One attempt after the other, each ended by its own deadline: the pile of threads is that of before.
    context.row.require(now <= threads, || format!("{name}: {now} threads, {threads} before"));
    proxy.set(Mode::Pass);
    ground.sink.always(Act::Take);
    let attempts = ground.sink.notes().len() - before;
    context.row.require(attempts >= 2, || format!("{name}: {attempts} attempts in four deadlines"));
    let findings = ground.settle(true);
    context.row.add(&findings);
    context.row.times += 1;
    context.row.note(format!("{name}: {attempts} attempts in four deadlines, {} twice", findings.twice));
}

fn threads(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count)
}

pub fn flaps(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, ground.sink.port())));
    ground.recipe.to = proxy.port();
    ground.recipe.sink = format!(", timeout: {}ms", TIMEOUT.as_millis());
    ground.sink.set(Timeline::mix(
        ground.random.u64(..),
        vec![
            (20, Act::Take),
            (1, Act::ResetAfter),
            (1, Act::Half),
            (1, Act::ResetBefore),
            (1, Act::Refuse(503, None)),
        ],
    ));
    ground.start();
    ground.load();
    let until = Instant::now() + Duration::from_secs(context.times(12, 600));
    while Instant::now() < until {
        let mode = match ground.random.u8(0..6) {
            0 => Mode::Down,
            1 => Mode::Blackhole,
            2 => Mode::Reset,
            3 => Mode::HalfOpen,
            4 => Mode::SlowClose(Duration::from_millis(200)),
            _ => Mode::Latency(Duration::from_millis(5)),
        };
        proxy.set(mode);
        sleep(Duration::from_millis(ground.random.u64(50..600)));
        proxy.set(Mode::Pass);
        sleep(Duration::from_millis(ground.random.u64(50..900)));
        context.row.times += 1;
    }
    ground.sink.always(Act::Take);
    let findings = ground.settle(true);
    context.row.add(&findings);
    let notes = ground.sink.notes();
    let largest = notes.iter().map(|note| note.entries as u64).max().unwrap_or(0);
    let bound = largest * proxy.connections();
    context
        .row
        .require(findings.twice <= bound, || format!("{} twice, at most {bound} could be", findings.twice));
    context.row.note(format!("{} connections", proxy.connections()));
}
