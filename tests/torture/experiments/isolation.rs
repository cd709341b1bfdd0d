//! A destination that is dead does not slow the other.

use super::Context;
use crate::check::compare;
use crate::generate::file;
use crate::ground::{Ground, Profile};
use crate::proxy::{Mode, Proxy};
use crate::sink::Sink;
use crate::support::{assert_ledger, number, row};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

/// R25.
pub fn dead_beside_living(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    let other = Sink::start(ground.plan.run);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, ground.sink.port())));
    let (dead, living) = (proxy.port(), other.port());
    // Room for all that is written meanwhile: beyond it, its own policy would apply to both.
    let room = if context.long { "8GiB" } else { "1GiB" };
    let config = move |epoch: u32| {
        format!(
            r#"
data_dir: state
admin: {{ listen: "127.0.0.1:0" }}
sources: {{ in: {{ type: file, include: ["logs/*.log"], rescan: 500ms }} }}
sinks:
  out:    {{ type: http, url: "http://127.0.0.1:{dead}/e{epoch}", timeout: 2s, retry: {{ backoff: 50ms, backoff_max: 500ms }}, circuit_breaker: {{ timeout: 500ms }}, buffer: {{ type: disk, max_size: {room} }} }}
  living: {{ type: http, url: "http://127.0.0.1:{living}/e{epoch}" }}
"#
        )
    };
    ground.product.start(config);
    file::start(&ground.plan, &ground.logs(), 0, 4, None, &mut ground.generators);
    sleep(Duration::from_secs(1));
    let span = Duration::from_secs(context.times(5, 1_800));
    let rate = |ground: &Ground| {
        let (sent, taken) = (ground.plan.obligations.sent_count(), other.receipts().taken());
        sleep(span);
        let sent = ground.plan.obligations.sent_count() - sent;
        (other.receipts().taken() - taken) as f64 / sent.max(1) as f64
    };
    let before = rate(&ground);
    proxy.set(Mode::Blackhole);
    sleep(Duration::from_millis(500));
    let during = rate(&ground);
    let behind = ground.plan.obligations.sent_count().saturating_sub(ground.sink.receipts().taken());
    proxy.set(Mode::Pass);
    context.row.times = 1;
    context.row.require(during >= 0.95 * before.min(1.0), || {
        format!(
            "the living one got {:.1} % of what was written, {:.1} % before",
            during * 100.0,
            before * 100.0
        )
    });
    let living = {
        ground.generators.stop();
        let stats = ground.product.drain();
        assert_ledger(&stats);
        number(row(&stats, "sinks", "living"), "delivered")
    };
    let findings = ground.settle(true);
    context.row.add(&findings);
    let other = compare(&ground.plan.obligations, other.receipts());
    context.row.require(other.received == living, || {
        format!("living: {living} delivered, {} arrived", other.received)
    });
    context.row.add(&other);
    context.row.note(format!(
        "the living one got {:.1} % of what was written before, {:.1} % while the other was dead and {behind} behind",
        before * 100.0,
        during * 100.0
    ));
}
