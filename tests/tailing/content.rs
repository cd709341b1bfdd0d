//! What stands in files: pieces of lines, very long ones, and bytes that are no text.

use super::rig::{Rig, append, rounds};
use super::support::*;
use std::time::Instant;

#[test]
fn growing_byte_by_byte() {
    let mut rig = Rig::running();
    let text = rig.text("slow", 6, 100);
    for (at, byte) in text.bytes().enumerate() {
        append(&rig.log("a.log"), &[byte]);
        if at % 97 == 0 {
            rig.running_instance().stats();
        }
        if at == 250 {
            rig.kill();
            rig.start();
        }
    }
    rig.wait_out();
    rig.wait_looked();
    rig.stop();
    // The kill may come before the last 20 ms are noted.
    rig.assert_recount("byte by byte", 2);
}

#[test]
fn killed_and_stopped_in_the_middle_of_a_line() {
    let (seed, mut random) = random();
    let mut rig = Rig::running();
    for round in 0..rounds() * 2 {
        let text = rig.text("app", 20, 100);
        let cut = random.usize(1..text.len());
        append(&rig.log("app.log"), &text.as_bytes()[..cut]);
        let whole = text[..cut].matches('\n').count() as u64;
        let before = rig.written["app"] - 20;
        rig.wait_lines(before + whole);
        if round % 2 == 0 {
            rig.kill();
            append(&rig.log("app.log"), &text.as_bytes()[cut..]);
            rig.start();
        } else {
            rig.stop();
            rig.start();
            append(&rig.log("app.log"), &text.as_bytes()[cut..]);
        }
        rig.wait_out();
    }
    // Lines that came twice were counted above: what was written last may not be out yet.
    rig.wait_looked();
    rig.stop();
    // A kill may come before the last 20 ms are noted: each time at most the round's lines.
    let twice = rig.assert_recount(&format!("seed {seed}"), rounds() * 20);
    println!("{} lines, {} kills, {twice} twice", rig.written["app"], rounds());
}

#[test]
fn a_last_line_without_its_end_comes_once_and_its_end_makes_no_line() {
    let mut rig = Rig::running();
    let text = rig.text("app", 2, 100);
    append(&rig.log("a.log"), text.trim_end().as_bytes());
    // The second goes out by itself when its time is over.
    rig.wait_out();
    rig.stop();
    rig.start();
    append(&rig.log("a.log"), b"\n");
    rig.append("a.log", "app", 1);
    rig.assert_all("no newline");
    let out = String::from_utf8(rig.out()).expect("text");
    assert!(!out.contains("\n\n"), "an empty line");
}

#[test]
fn a_line_of_10_mib_is_cut_and_marked_or_whole_as_asked() {
    let long = "y".repeat(10 << 20);
    let mut rig = Rig::running();
    let (first, last) = (rig.text("app", 1, 100), rig.text("app", 1, 100));
    append(&rig.log("a.log"), format!("{first}{long}\n{last}").as_bytes());
    rig.wait_lines(3);
    rig.kill();
    rig.start();
    rig.wait_looked();
    let cut = number(row(&rig.running_instance().stats(), "sources", "logs"), "cut");
    assert!(cut <= 1);
    rig.stop();
    let out = String::from_utf8(rig.out()).expect("text");
    let mut lines: Vec<&str> = Vec::new();
    for line in out.lines().filter(|line| !line.starts_with("end ")) {
        // What came out less than 20 ms before the kill may come twice.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let lens: Vec<_> = lines.into_iter().map(str::len).collect();
    assert_eq!(lens, [100, 256 << 10, 100]);

    let mut rig = Rig::new(r#"include: ["logs/*.log"], max_line: 10MiB"#);
    rig.set_memory("208MiB");
    rig.start();
    append(&rig.log("a.log"), format!("{long}\n").as_bytes());
    rig.wait_lines(1);
    assert_eq!(rig.out().len(), (10 << 20) + 1);
}

#[test]
fn bytes_that_are_no_text_come_out_as_they_are() {
    let mut rig = Rig::running();
    let lines: [&[u8]; 6] = [
        b"an ordinary line that is long enough to stand for the beginning of a file of text",
        b"windows\r",
        b"invalid \xff\xfe\x80 utf-8",
        b"\r",
        b"",
        b"half a character \xe2\x82",
    ];
    let mut bytes = lines.join(&b'\n');
    bytes.push(b'\n');
    // Beyond what tells binary files from text.
    bytes.extend(b"filler\n".repeat(200));
    bytes.extend(b"a \0 in a line\n");
    append(&rig.log("a.log"), &bytes);
    rig.wait_lines(bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
    rig.stop();
    assert!(rig.out() == bytes, "{}", String::from_utf8_lossy(&rig.out()));
}

#[test]
fn a_line_that_never_ends_takes_no_memory_and_holds_nobody_up() {
    let mut rig = Rig::running();
    append(&rig.log("endless.log"), b"text ");
    let path = rig.log("endless.log");
    let begun = Instant::now();
    for _ in 0..40 {
        append(&path, &vec![b'z'; 1 << 20]);
    }
    rig.append("other.log", "other", 100);
    rig.wait_lines(100 + 1);
    println!("after {:?}", begun.elapsed());
    rig.running_instance()
        .wait_stats("it is passed over", |stats| number(row(stats, "sources", "logs"), "lag_bytes") == 0);
    let resident = rig.running_instance().stats()["process"]["resident_bytes"].as_u64().expect("a number");
    assert!(resident < 200 << 20, "{resident}");
    append(&path, b"\n");
    let text = rig.text("other", 1, 100);
    append(&path, text.as_bytes());
    rig.wait_lines(102);
}
