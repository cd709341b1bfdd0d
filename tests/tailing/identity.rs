//! Which file is which: numbers used again, files that begin alike, several names for one file.

use super::rig::{Rig, append, rounds};
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn numbers_given_to_new_files_do_not_give_them_old_places() {
    for open_files in [4, 1024] {
        let mut rig = Rig::new(&format!("include: [\"logs/*.log\"], open_files: {open_files}"));
        rig.start();
        let (mut numbers, mut again) = (std::collections::BTreeSet::new(), 0);
        for round in 0..rounds() * 4 {
            for n in 0..10 {
                let name = format!("{n}.log");
                rig.append(&name, &format!("s{n}"), 5 + (round + n) % 40);
                again += u64::from(!numbers.insert(fs::metadata(rig.log(&name)).expect("it is there").ino()));
            }
            rig.wait_out();
            match round % 4 {
                0 => {
                    rig.stop();
                }
                1 => rig.kill(),
                _ => {}
            }
            for n in 0..10 {
                fs::remove_file(rig.log(&format!("{n}.log"))).expect("removed");
            }
            if rig.instance.is_none() {
                // Made before we come back, so that they have the numbers of those that were read.
                for n in 0..10 {
                    rig.append(&format!("{n}.log"), &format!("s{n}"), 50);
                }
                rig.start();
                rig.wait_out();
            }
        }
        println!("{again} times a number was used again");
        rig.assert_all(&format!("open_files: {open_files}"));
    }
}

#[test]
fn fifty_files_with_the_same_first_4_kib() {
    let mut rig = Rig::running();
    let header = "# a header that all of them have\n".repeat(125);
    assert!(header.len() > 4096);
    for n in 0..50 {
        append(&rig.log(&format!("{n}.log")), header.as_bytes());
    }
    for round in 0..rounds().min(10) {
        for n in 0..50 {
            rig.append(&format!("{n}.log"), &format!("s{n}"), 3);
        }
        if round % 2 == 0 {
            rig.wait_lines(50 * 125 + 50 * 3 * (round + 1));
            rig.stop();
            // While we are away: renamed, and grown.
            rig.rotate("7.log");
            rig.append("7.log.1", "s7", 2);
            rig.append("7.log", "s7", 1);
            rig.start();
            rig.wait_lines(50 * 125 + rig.written.values().sum::<u64>());
            fs::remove_file(rig.log("7.log.1")).expect("removed");
            break;
        }
    }
    rig.wait_looked();
    rig.stop();
    let recount = rig.recount();
    let headers = recount.foreign.iter().filter(|line| line.starts_with("# a header")).count();
    assert_eq!((headers, recount.foreign.len()), (50 * 125, 50 * 125), "each header once");
    for (stream, count) in &rig.written {
        assert_eq!(recount.lost_and_twice(stream, *count), (0, 0), "{stream}");
    }
}

#[test]
fn four_hundred_empty_files_that_begin_later() {
    let mut rig = Rig::running();
    for n in 0..400 {
        fs::write(rig.log(&format!("{n}.log")), "").expect("written");
    }
    rig.wait_looked();
    for n in (0..400).step_by(2) {
        rig.append(&format!("{n}.log"), &format!("s{n}"), 1);
    }
    rig.wait_out();
    rig.stop();
    for n in 0..400 {
        rig.append(&format!("{n}.log"), &format!("s{n}"), 1);
    }
    rig.start();
    rig.assert_all("400 files");
}

#[test]
fn a_file_with_several_names_is_read_once_under_whichever_is_left() {
    let mut rig = Rig::running();
    for round in 0..rounds() {
        let (a, b) = (format!("a{round}.log"), format!("b{round}.log"));
        rig.append(&a, "hard", 20);
        fs::hard_link(rig.log(&a), rig.log(&b)).expect("linked");
        rig.wait_out();
        rig.append(&b, "hard", 20);
        rig.wait_out();
        fs::remove_file(rig.log(if round % 2 == 0 { &a } else { &b })).expect("removed");
        rig.append(if round % 2 == 0 { &b } else { &a }, "hard", 20);
        if round == 1 {
            rig.wait_out();
            rig.stop();
            rig.start();
        }
    }
    rig.assert_all("hard links");
}

#[test]
fn a_symbolic_link_is_followed_once_and_may_point_elsewhere_later() {
    let mut rig = Rig::running();
    fs::create_dir(rig.log("real")).expect("created");
    for round in 0..rounds() {
        let real = format!("real/{round}.txt");
        rig.append(&real, "link", 20);
        let (link, new) = (rig.log("current.log"), rig.log("new"));
        std::os::unix::fs::symlink(rig.log(&real), &new).expect("linked");
        fs::rename(&new, &link).expect("swapped");
        // A second way to the same file.
        let second = rig.log(&format!("second{round}.log"));
        std::os::unix::fs::symlink(rig.log(&real), &second).expect("linked");
        rig.wait_out();
        rig.append(&real, "link", 20);
        rig.wait_out();
        if round == 1 {
            rig.stop();
            rig.append(&real, "link", 5);
            rig.start();
            rig.wait_out();
        }
    }
    rig.assert_all("links");
}
