//! Directories that somebody filled to do harm.

use super::rig::{Rig, append};
use super::support::*;
use std::fs::{self, File};
use std::io::Write;
use std::time::Instant;

fn resident(rig: &mut Rig) -> u64 {
    rig.running_instance().stats()["process"]["resident_bytes"].as_u64().expect("a number")
}

#[test]
fn pipes_devices_holes_and_loops_hold_nobody_up() {
    let mut rig = Rig::new(r#"include: ["logs/**/*.log"]"#);
    let node = |name: &str, kind, dev| {
        rustix::fs::mknodat(rustix::fs::CWD, rig.log(name), kind, rustix::fs::Mode::from_raw_mode(0o644), dev)
    };
    node("fifo.log", rustix::fs::FileType::Fifo, 0).expect("made");
    // Without rights a device cannot be made: then a link to one must do.
    let _ = node("zero.log", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5));
    for (name, to) in [("dev.log", "/dev/zero"), ("proc.log", "/proc/kmsg"), ("gone.log", "/nowhere")] {
        std::os::unix::fs::symlink(to, rig.log(name)).expect("linked");
    }
    File::create(rig.log("hole.log"))
        .and_then(|file| file.set_len(1 << 40))
        .expect("a file system with holes");
    let mut text = File::create(rig.log("text-and-hole.log")).expect("created");
    let first = rig.text("hole", 20, 100);
    text.write_all(first.as_bytes()).expect("written");
    text.set_len(1 << 40).expect("a file system with holes");
    // Twelve directories, each with links to all of them: more paths than anybody can walk.
    for n in 0..12 {
        fs::create_dir(rig.log(&format!("d{n}"))).expect("created");
    }
    for from in 0..12 {
        for to in 0..12 {
            let link = rig.log(&format!("d{from}/l{to}"));
            std::os::unix::fs::symlink(rig.log(&format!("d{to}")), link).expect("linked");
        }
        rig.append(&format!("d{from}/a.log"), "deep", 5);
    }
    rig.append("plain.log", "plain", 100);
    let begun = Instant::now();
    rig.start();
    // And the piece of a line that the hole is, cut.
    rig.wait_lines(20 + 60 + 100 + 1);
    rig.wait_looked();
    // Behind the hole a line is a line again.
    let behind = rig.text("hole", 1, 100);
    append(&rig.log("text-and-hole.log"), format!("\n{behind}").as_bytes());
    rig.wait_lines(20 + 60 + 100 + 1 + 1 + 1);
    let memory = resident(&mut rig);
    assert!(memory < 200 << 20, "{memory}");
    rig.stop();
    let recount = rig.recount();
    for (stream, count) in &rig.written {
        assert_eq!(recount.lost_and_twice(stream, *count), (0, 0), "{stream}");
    }
    println!("done after {:?}, {} MiB", begun.elapsed(), memory >> 20);
}

#[test]
fn a_hundred_thousand_files_are_followed_within_bounds() {
    let count: u64 = std::env::var("RINGMAIN_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let mut rig = Rig::new(r#"include: ["logs/**/*.log"]"#);
    fs::create_dir(rig.log("many")).expect("created");
    for n in 0..count {
        fs::write(rig.log(&format!("many/{n}.log")), format!("{}\n", line("many", n, 60))).expect("written");
    }
    rig.written.insert("many".into(), count);
    let begun = Instant::now();
    rig.start();
    let ready = begun.elapsed();
    rig.wait_out();
    let (read, memory) = (begun.elapsed(), resident(&mut rig));
    // Somebody else's file is not forgotten over them.
    rig.append("other.log", "other", 10);
    rig.wait_out();
    let deleting = Instant::now();
    fs::remove_dir_all(rig.log("many")).expect("removed");
    rig.append("other.log", "other", 10);
    rig.wait_out();
    rig.wait_looked();
    let deleted = deleting.elapsed();
    println!("{count} files: ready {ready:?}, read {read:?}, {} MiB, gone {deleted:?}", memory >> 20);
    let per_file = memory / count;
    assert!(memory < (100 << 20) + count * 6000, "{memory}: {per_file} each");
    rig.assert_all("many files");
}

#[test]
fn more_files_than_the_system_lets_anyone_open_take_turns() {
    let mut rig = Rig::running();
    // The limit of the running process, as an operator's `prlimit` would set it.
    let pid = rustix::process::Pid::from_raw(rig.running_instance().id().cast_signed());
    let limit = |files: u64| rustix::process::Rlimit { current: Some(files), maximum: Some(1024) };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit(64)).expect("it is ours");
    for round in 0..2 {
        for n in 0..300 {
            rig.append(&format!("{n}.log"), &format!("s{n}"), 2 + round);
        }
        rig.wait_out();
    }
    rig.wait_looked();
    let (code, _) = rig.running_instance().get("/ready");
    assert_eq!(code, 200);
    rig.running_instance().wait_log("the others wait");
    rig.assert_all("300 files");
}
