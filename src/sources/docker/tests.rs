//! What cannot be seen from outside: a closed gate, and what failed.

use super::config::DockerSourceConfig;
use super::*;
use crate::ack::Status;
use crate::sources::net::tests::House;
use crate::thread::Threads;
use std::thread::JoinHandle;

#[path = "../../../tests/support/engine.rs"]
#[allow(dead_code, reason = "shared with tests that need all of it")]
mod engine;
use engine::{Container, Engine, T0};

struct Rig {
    engine: Engine,
    house: House,
    checkpoint: Arc<Checkpoint>,
    open: Allowance,
    rescan: Duration,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(&dir.path().join("engine.sock"));
        let checkpoint = Checkpoint::open(Arc::new(crate::storage_io::Disk), dir.path()).unwrap();
        engine.add(Container { id: "a".into(), name: "web".into(), ..Container::default() });
        Rig {
            engine,
            house: House::new(100_000, 50),
            checkpoint: Arc::new(checkpoint),
            open: Allowance::default(),
            rescan: Duration::from_secs(30),
            _dir: dir,
        }
    }

    fn start(&self) -> JoinHandle<()> {
        let config =
            DockerSourceConfig { socket: self.engine.socket.clone(), ..DockerSourceConfig::default() };
        let settings = DockerSettings {
            source: SourceId(0),
            name: "app".into(),
            socket: config.socket.clone(),
            read_from: config.read_from,
            max_line: 1000,
            multiline: None,
            rescan: self.rescan,
            timeout: config.timeout,
            connections: config.connections,
            open: self.open.clone(),
            partial_memory: config.partial_memory,
            labels: Labels::default(),
        };
        let (ending, checkpoint) = (Arc::clone(&self.house.ending), Arc::clone(&self.checkpoint));
        let reader = DockerReader::new(&config, settings, self.house.spec(), ending, checkpoint).unwrap();
        Threads::default().spawn("docker", &[], move |row| reader.run(row)).unwrap()
    }

    fn say(&self, range: std::ops::Range<i64>) {
        range.for_each(|n| self.engine.say("a", T0 + n / 3, &format!("line {n}")));
    }

    /// Takes blocks and settles them with what `status` says of their texts, until `count` different lines were delivered.
    fn take(&self, count: usize, mut status: impl FnMut(&[String]) -> Status) -> Vec<String> {
        let (mut came, patience) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        while came.iter().collect::<std::collections::BTreeSet<_>>().len() < count {
            assert!(Instant::now() < patience, "{} came", came.len());
            let Some(shipment) = self.house.hallway.ring.pop() else {
                std::thread::yield_now();
                continue;
            };
            let block = &shipment.block;
            let text = |at| String::from_utf8(block.view(at).text().to_vec()).unwrap();
            let texts: Vec<String> = (0..block.entries().len()).map(text).collect();
            let said = status(&texts);
            if said != Status::Failed {
                came.extend(texts);
            }
            self.house.hallway.credits.give(shipment.credits.0 as u64, shipment.credits.1 as u64);
            self.house.ledger.row.in_transit.sub(shipment.credits.0 as u64);
            shipment.whole.settle(said);
        }
        came
    }

    fn end(&self, thread: JoinHandle<()>) {
        self.house.ending.stop();
        thread.join().unwrap();
    }
}

fn lines(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[test]
fn what_failed_is_read_again_from_the_safe_place_in_order() {
    let rig = Rig::new();
    rig.say(0..400);
    let thread = rig.start();
    let mut failed = 0;
    let came = rig.take(400, |texts| {
        // The block that holds this line, twice.
        let fails = failed < 2 && texts.iter().any(|text| text == "line 100");
        failed += usize::from(fails);
        if fails { Status::Failed } else { Status::Delivered }
    });
    // From what failed on everything comes again, in order; what was on its way then comes twice.
    let last = came.iter().rposition(|line| line == "line 100").unwrap();
    let again: Vec<String> = came[last..].to_vec();
    assert_eq!(again, lines(100..100 + again.len() as i64));
    assert_eq!(failed, 2);
    assert_eq!(rig.house.ledger.row.replayed_blocks.get(), 2);
    // What came twice and is still on its way is nobody's business.
    rig.house.ending.leave();
    rig.end(thread);
}

#[test]
fn a_closed_gate_keeps_logs_unread() {
    let rig = Rig::new();
    rig.say(0..10);
    rig.house.gate.close();
    let thread = rig.start();
    let patience = Instant::now() + Duration::from_secs(30);
    while rig.house.ledger.row.blocked.get() == 0 {
        assert!(Instant::now() < patience, "it never wanted to read");
        std::thread::yield_now();
    }
    assert_eq!(rig.house.hallway.ring.pop().map(|_| ()), None);
    rig.house.gate.open();
    assert_eq!(rig.take(10, |_| Status::Delivered), lines(0..10));
    rig.end(thread);
    // The place was told to the checkpoint: nothing of it comes again.
    let rig = Rig { house: House::new(1000, 50), ..rig };
    rig.say(10..20);
    let thread = rig.start();
    assert_eq!(rig.take(10, |_| Status::Delivered), lines(10..20));
    rig.end(thread);
}

#[test]
fn no_more_logs_are_open_than_its_share_of_descriptors_holds() {
    let rig = Rig { rescan: Duration::from_millis(20), ..Rig::new() };
    for id in ["b", "c"] {
        rig.engine.add(Container { id: id.into(), name: id.into(), ..Container::default() });
    }
    let say =
        |text: &str| ["a", "b", "c"].iter().for_each(|id| rig.engine.say(id, T0, &format!("{text} {id}")));
    let thread = rig.start();
    say("first");
    assert_eq!(rig.take(3, |_| Status::Delivered).len(), 3);
    let open = || rig.house.ledger.row.streams.get();
    // A reload takes two of them away. Nothing is said until they are closed: so only the one that is left is heard.
    rig.open.set(1);
    let patience = Instant::now() + Duration::from_secs(30);
    while open() != 1 {
        assert!(Instant::now() < patience, "{} are open", open());
        std::thread::yield_now();
    }
    say("second");
    assert_eq!(rig.take(1, |_| Status::Delivered).len(), 1);
    // What the others said is not lost: they are read when there is room, and nothing comes twice.
    ["a", "b", "c"].iter().for_each(|id| rig.engine.set_running(id, false));
    let mut rest = rig.take(2, |_| Status::Delivered);
    rest.sort();
    assert_eq!(rest.len(), 2, "{rest:?}");
    rig.end(thread);
}
