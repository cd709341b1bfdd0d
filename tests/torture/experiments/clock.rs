//! The wall clock jumps while entries are on their way, requests back off and files are rotated.

use super::Context;
use crate::ground::{Ground, Profile};
use crate::product::Start;
use crate::sink::fault::{Act, Timeline};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SHIM: &str = include_str!("../shim.c");
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

pub fn jumps(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    let shim = compile(ground.path());
    let clock = ground.path().join("clock");
    set(&clock, 0);
    // Waits are on their way when the clock jumps.
    ground.sink.set(Timeline::mix(ground.random.u64(..), vec![(3, Act::Take), (1, Act::Refuse(503, None))]));
    let environment = [("LD_PRELOAD", &shim), ("TORTURE_CLOCK", &clock)]
        .map(|(name, path)| (name.to_string(), path.to_str().expect("text").to_string()));
    let start = Start { environment: environment.to_vec(), ..Start::default() };
    let recipe = ground.recipe.clone();
    ground.product.spawn(&start, |epoch| recipe.config(epoch));
    ground.product.get().wait_log("ready");
    ground.load();
    sleep(Duration::from_secs(1));
    let process = ground.product.get().id();
    let usual = cpu(process);
    sleep(Duration::from_secs(1));
    let usual = cpu(process) - usual;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let mut busiest = 0.0_f64;
    for _ in 0..context.times(1, 12) {
        for offset in [HOUR, 0, -HOUR, DAY, -DAY, 1_000 - now, 0, i64::from(i32::MAX) - now, 1, 0, -1, 0] {
            let (before, taken) = (cpu(process), ground.sink.receipts().taken());
            set(&clock, offset);
            sleep(Duration::from_millis(700));
            busiest = busiest.max((cpu(process) - before) / 0.7);
            // Some waits for the next attempt are longer than others.
            let deadline = Instant::now() + Duration::from_secs(5);
            while ground.sink.receipts().taken() == taken && Instant::now() < deadline {
                sleep(Duration::from_millis(20));
            }
            let went_on = ground.sink.receipts().taken() > taken;
            context.row.require(went_on, || format!("nothing arrives after the clock was at {offset:+} s"));
            context.row.times += 1;
        }
    }
    let seen = ground.product.get().log();
    context.row.require(!seen.contains("panicked"), || format!("it panicked: {seen}"));
    ground.sink.always(Act::Take);
    let findings = ground.settle(true);
    context.row.add(&findings);
    context.row.require_once();
    context.row.require(busiest < usual * 4.0 + 0.5, || {
        format!("{busiest:.2} cores busy after a jump, {usual:.2} before")
    });
    context.row.note(format!("{usual:.2} cores busy before, at most {busiest:.2} after a jump"));
}

fn compile(dir: &Path) -> PathBuf {
    let (source, shim) = (dir.join("shim.c"), dir.join("shim.so"));
    std::fs::write(&source, SHIM).expect("written");
    let status = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).status();
    assert!(status.is_ok_and(|status| status.success()), "`cc` compiles the shim");
    shim
}

/// Written whole, as it is read at any time.
fn set(clock: &Path, offset: i64) {
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{offset}\n")).expect("written");
    std::fs::rename(new, clock).expect("renamed");
}

/// Seconds of CPU time a process has used.
pub fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}
