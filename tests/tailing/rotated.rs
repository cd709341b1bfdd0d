//! Renaming, copying, cutting, compressing and deleting.

use super::rig::{FLOOD, Rig, append, rounds};
use super::support::*;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[test]
fn renamed_again_and_again_while_its_writer_holds_on_to_the_old_file() {
    let mut rig = Rig::running();
    // A file that is renamed before it was ever seen is an old log like any other.
    rig.append("app.log", "app", 1);
    rig.wait_out();
    for round in 0..rounds().max(10) {
        let path = rig.log("app.log");
        let mut old = OpenOptions::new().create(true).append(true).open(&path).expect("opened");
        let text = rig.text("app", 200, 100);
        old.write_all(text.as_bytes()).expect("written");
        rig.rotate("app.log");
        File::create(&path).expect("created");
        // For 50 ms the writer has not heard of it.
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            let text = rig.text("app", 5, 100);
            old.write_all(text.as_bytes()).expect("written");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        rig.append("app.log", "app", 20);
        if round % 10 == 9 {
            // Fewer names to shift.
            rig.wait_out();
            for n in 11..200 {
                let _ = fs::remove_file(rig.log(&format!("app.log.{n}")));
            }
        }
    }
    rig.assert_all("renamed");
}

#[test]
fn five_times_renamed_while_the_sink_is_dead() {
    for round in 0..rounds().div_ceil(5) {
        let mut rig = Rig::running();
        rig.append("app.log", "app", 10);
        rig.wait_out();
        rig.block();
        for _ in 0..6 {
            // Together more than fits between source and sink.
            let text = rig.text("app", FLOOD / 5 / 2000, 2000);
            append(&rig.log("app.log"), text.as_bytes());
            rig.running_instance().stats();
            rig.rotate("app.log");
        }
        rig.append("app.log", "app", 10);
        rig.wait_blocked();
        rig.unblock();
        rig.wait_out();
        rig.recount().assert_exact("app", rig.written["app"]);
        rig.assert_all(&format!("round {round}"));
    }
}

/// Ends it in one of two ways, at random; true if it could say good-bye.
fn end(rig: &mut Rig, gently: bool) -> bool {
    if gently {
        rig.stop();
    } else {
        rig.kill();
    }
    gently
}

#[test]
fn renamed_three_times_while_we_are_down_and_the_oldest_compressed() {
    let (seed, mut random) = random();
    for gently in [true, false] {
        let mut rig = Rig::running();
        let mut twice_max = 0;
        for round in 0..rounds() {
            rig.append("app.log", "app", 300);
            // One that nobody has seen yet would be an old log like any other once it is renamed.
            if round == 0 || random.bool() {
                rig.wait_out();
            } else {
                twice_max += 300;
            }
            if end(&mut rig, gently) {
                twice_max = 0;
            } else {
                // Whatever the fast tier was not told in its 20 ms.
                twice_max += 300;
            }
            let first = rig.log("app.log").exists();
            assert!(first, "round {round}");
            for _ in 0..3 {
                rig.append("app.log", "app", random.u64(1..50));
                rig.rotate("app.log");
            }
            rig.append("app.log", "app", random.u64(1..50));
            if round % 2 == 0 {
                rig.gzip("app.log.3");
            }
            rig.start();
            rig.wait_out();
            rig.wait_looked();
        }
        rig.stop();
        let twice = rig.assert_recount(&format!("seed {seed}, TERM: {gently}"), twice_max);
        println!("TERM {gently}: {} lines, {twice} twice", rig.written["app"]);
    }
}

#[test]
fn all_but_the_newest_were_compressed_while_we_were_down() {
    let mut rig = Rig::running();
    for round in 0..rounds() {
        rig.append("app.log", "app", 100);
        rig.wait_out();
        rig.stop();
        for _ in 0..3 {
            rig.append("app.log", "app", 10 + round);
            rig.rotate("app.log");
            if rig.log("app.log.2").exists() {
                rig.gzip("app.log.2");
            }
        }
        rig.append("app.log", "app", 5);
        rig.start();
        rig.wait_out();
        rig.wait_looked();
    }
    rig.assert_all("compressed");
}

#[test]
fn compressed_while_it_is_unread_and_we_run_and_when_we_are_killed_then() {
    for killed in [false, true] {
        let mut rig = Rig::running();
        rig.append("app.log", "app", 50);
        rig.wait_out();
        rig.flood();
        rig.append("app.log", "app", 1000);
        rig.rotate("app.log");
        rig.append("app.log", "app", 50);
        rig.wait_stats_seen(6);
        rig.gzip("app.log.1");
        if killed {
            rig.kill();
            rig.unblock();
            rig.start();
        } else {
            rig.unblock();
        }
        rig.wait_out();
        rig.wait_looked();
        rig.stop();
        rig.assert_recount(&format!("killed: {killed}"), 0);
    }
}

impl Rig {
    /// Waits until it knows of as many files.
    fn wait_stats_seen(&mut self, files: u64) {
        self.running_instance().wait_stats("it has seen them", |stats| {
            number(row(stats, "sources", "logs"), "streams") >= files
        });
    }
}

/// Copies the log to its next number, then cuts it. What was written in between is in neither.
fn copytruncate(rig: &Rig, name: &str, writer: &Mutex<(File, u64)>) -> std::ops::Range<u64> {
    let copied = {
        let held = writer.lock().expect("no panic");
        for n in (1..100).rev() {
            let _ = fs::rename(rig.log(&format!("{name}.{n}")), rig.log(&format!("{name}.{}", n + 1)));
        }
        fs::copy(rig.log(name), rig.log(&format!("{name}.1"))).expect("copied");
        held.1
    };
    let held = writer.lock().expect("no panic");
    held.0.set_len(0).expect("cut");
    copied..held.1
}

#[test]
fn copied_and_cut_under_load_loses_at_most_what_came_between_copy_and_cut() {
    let mut rig = Rig::running();
    let file = OpenOptions::new().create(true).append(true).open(rig.log("app.log")).expect("opened");
    let (writer, done) = (Mutex::new((file, 0)), AtomicBool::new(false));
    let mut gaps = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let mut held = writer.lock().expect("no panic");
                let text: String = (held.1..held.1 + 10).map(|n| line("app", n, 100) + "\n").collect();
                held.0.write_all(text.as_bytes()).expect("written");
                held.1 += 10;
                drop(held);
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        for _ in 0..rounds() {
            let until = Instant::now() + Duration::from_millis(100);
            while Instant::now() < until {
                rig.running_instance().stats();
            }
            gaps.push(copytruncate(&rig, "app.log", &writer));
        }
        done.store(true, SeqCst);
    });
    let count = writer.lock().expect("no panic").1;
    rig.wait_looked();
    rig.stop();
    let recount = rig.recount();
    let (lost, twice) = recount.lost_and_twice("app", count);
    let in_gaps: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    let seen: std::collections::BTreeSet<_> = recount.streams["app"].iter().copied().collect();
    let other = (0..count)
        .filter(|n| !seen.contains(n) && !gaps.iter().any(|gap| gap.contains(n)))
        .collect::<Vec<_>>();
    println!(
        "{} cuts, {count} lines: {in_gaps} between copy and cut, {lost} lost, {twice} twice",
        gaps.len()
    );
    assert!(other.is_empty(), "{} others lost: {:?}", other.len(), &other[..other.len().min(10)]);
    assert_eq!((twice, recount.foreign.len()), (0, 0));
}

#[test]
fn copied_and_cut_with_the_copy_among_the_globs_reads_everything_once() {
    for include in [r#"include: ["logs/*.log"]"#, r#"include: ["logs/*.log", "logs/*.log.*"]"#] {
        let mut rig = Rig::new(include);
        rig.start();
        for round in 0..rounds() * 2 {
            rig.append("app.log", "app", 40 + round % 7 * 20);
            if round % 3 != 0 || round == 0 {
                rig.wait_out();
            }
            if round % 5 == 4 {
                rig.wait_out();
                rig.stop();
            }
            let file = OpenOptions::new().write(true).open(rig.log("app.log")).expect("opened");
            copytruncate(&rig, "app.log", &Mutex::new((file, 0)));
            if rig.instance.is_none() {
                rig.start();
            }
            rig.wait_out();
        }
        rig.append("app.log", "app", 10);
        rig.assert_all(include);
    }
}

#[test]
fn cut_and_grown_past_the_old_end_while_we_run_and_while_we_are_down() {
    let mut rig = Rig::running();
    let mut before = 20;
    for round in 0..rounds() * 2 {
        let down = round % 2 == 1;
        rig.wait_out();
        if down {
            rig.stop();
        }
        // In one write behind the cut, as fast as it can be: longer than before.
        before += 15;
        let text = rig.text("app", before, 100);
        fs::write(rig.log("app.log"), text).expect("written");
        if down {
            rig.start();
        }
    }
    rig.assert_all("cut and grown");
}

#[test]
fn deleted_while_it_is_unread() {
    for round in 0..rounds().div_ceil(5) {
        let mut rig = Rig::running();
        rig.append("first.log", "first", 10);
        rig.wait_out();
        rig.flood();
        rig.append("first.log", "first", 1000);
        for n in 0..20 {
            rig.append(&format!("{n}.log"), &format!("s{n}"), 100);
        }
        rig.wait_stats_seen(25);
        for name in (0..20).map(|n| n.to_string()).chain(["first".into(), "flood0".into()]) {
            fs::remove_file(rig.log(&format!("{name}.log"))).expect("removed");
        }
        rig.unblock();
        rig.assert_all(&format!("round {round}"));
    }
}

#[test]
fn the_directory_is_renamed_and_made_anew() {
    let mut rig = Rig::new(r#"include: ["logs/app/*.log"]"#);
    fs::create_dir(rig.log("app")).expect("created");
    rig.start();
    for round in 0..rounds() {
        for n in 0..5 {
            rig.append(&format!("app/{n}.log"), &format!("s{n}"), 50);
        }
        rig.wait_out();
        // Read, and grown once more just before: one of them, or all.
        for n in 0..[1, 5][round as usize % 2] {
            rig.append(&format!("app/{n}.log"), &format!("s{n}"), 50);
        }
        fs::rename(rig.log("app"), rig.log(&format!("app.{round}"))).expect("renamed");
        fs::create_dir(rig.log("app")).expect("created");
        rig.wait_out();
    }
    rig.stop();
    rig.assert_recount("directories", 0);
}

#[test]
fn what_happened_to_files_is_counted() {
    let mut rig = Rig::running();
    rig.append("a.log", "a", 50);
    rig.append("b.log", "b", 50);
    rig.wait_out();
    rig.rotate("a.log");
    rig.append("a.log", "a", 10);
    let text = rig.text("b", 20, 100);
    fs::write(rig.log("b.log"), text).expect("written");
    rig.wait_out();
    fs::remove_file(rig.log("a.log")).expect("removed");
    let files = |stats: &serde_json::Value| {
        let of = |key: &str| number(row(stats, "sources", "logs"), key);
        [of("files_rotated"), of("files_truncated"), of("files_vanished")]
    };
    rig.running_instance().wait_stats("all of it is seen", |stats| files(stats) == [2, 1, 0]);
    // While we are away a file goes with what nobody has read of it.
    rig.stop();
    rig.append("b.log", "gone", 10);
    rig.written.remove("gone");
    fs::remove_file(rig.log("b.log")).expect("removed");
    rig.append("b.log", "b", 1);
    rig.start();
    rig.wait_out();
    assert_eq!(files(&rig.running_instance().stats()), [0, 0, 1]);
    let (_, page) = rig.running_instance().get("/metrics");
    assert!(page.contains("dispatcher_source_files_vanished_total{source=\"logs\"} 1"), "{page}");
    rig.running_instance().wait_log("is gone");
}
