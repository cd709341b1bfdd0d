//! Everything one run stands on: a directory, a destination, generators and the product, in one of the profiles.

use crate::check::{Findings, Obligations, compare};
use crate::generate::http::Answers;
use crate::generate::{Generators, Plan, file, http, tcp};
use crate::product::Product;
use crate::sink::Sink;
use crate::support::{assert_ledger, number, row};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long everything stands still before a run is over.
const SETTLED: Duration = Duration::from_millis(300);
/// How long what is missing is waited for although the product says that it has nothing left.
const LATE: Duration = Duration::from_secs(5);

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Files, which are rotated, to an HTTP endpoint, by memory.
    A,
    /// HTTP to a buffer on disk to Loki.
    B,
    /// Syslog over TCP to a buffer on disk to an HTTP endpoint.
    D,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Profile::A => "A: file to HTTP, memory",
            Profile::B => "B: HTTP to disk to Loki",
            Profile::D => "D: TCP syslog to disk to HTTP",
        }
    }

    pub fn letter(self) -> &'static str {
        &self.name()[..1]
    }
}

/// What makes the config of a start.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub profile: Profile,
    /// Where the product listens; the same port in every start, as clients look for it there.
    pub listen: SocketAddr,
    /// Where it sends to: the destination, or a proxy before it.
    pub to: u16,
    pub data_dir: PathBuf,
    /// How much a buffer on disk may hold.
    pub buffer_size: String,
    /// Further keys of the sink.
    pub sink: String,
    /// Further keys of the source.
    pub source: String,
    /// Further lines at the top level.
    pub further: String,
}

impl Recipe {
    /// The config of the start with this number, which the destination can tell by the path.
    pub fn config(&self, epoch: u32) -> String {
        let Recipe { listen, to, data_dir, sink, source, further, .. } = self;
        // Short waits, so that outages of seconds are what outages of minutes are to a real one.
        let retry = "retry: { backoff: 50ms, backoff_max: 500ms }, circuit_breaker: { timeout: 500ms }";
        let (sources, sink_type) = match self.profile {
            Profile::A => (r#"type: file, include: ["logs/*.log"], rescan: 500ms"#.to_string(), "http"),
            Profile::B => (format!(r#"type: http, listen: ["tcp://{listen}"]"#), "loki"),
            Profile::D => (format!(r#"type: syslog, listen: ["tcp://{listen}"]"#), "http"),
        };
        let buffer = match self.profile {
            Profile::A => String::new(),
            Profile::B | Profile::D => format!(", buffer: {{ type: disk, max_size: {} }}", self.buffer_size),
        };
        let url = match self.profile {
            Profile::B => format!("http://127.0.0.1:{to}/e{epoch}/loki/api/v1/push"),
            _ => format!("http://127.0.0.1:{to}/e{epoch}"),
        };
        format!(
            "data_dir: {}\nadmin: {{ listen: \"127.0.0.1:0\", token: torture }}\n\
             sources: {{ in: {{ {sources}{source} }} }}\n\
             sinks: {{ out: {{ type: {sink_type}, url: \"{url}\", {retry}{buffer}{sink} }} }}\n{further}",
            data_dir.display()
        )
    }
}

/// One run.
pub struct Ground {
    // Dropped in this order: the product ends before its destination.
    pub generators: Generators,
    pub product: Product,
    pub sink: Sink,
    pub plan: Plan,
    pub recipe: Recipe,
    pub random: fastrand::Rng,
    dir: tempfile::TempDir,
}

impl Ground {
    /// A new one, made of what comes next from `random`.
    pub fn new(profile: Profile, random: &mut fastrand::Rng) -> Ground {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("logs")).expect("created");
        let mut random = random.fork();
        let run = random.u32(..);
        let sink = Sink::start(run);
        let recipe = Recipe {
            profile,
            listen: free_address(&mut random),
            to: sink.port(),
            data_dir: "state".into(),
            buffer_size: "1GiB".into(),
            sink: String::new(),
            source: String::new(),
            further: String::new(),
        };
        let plan = Plan { run, obligations: Arc::new(Obligations::default()), rate: 2_000, poison_every: 0 };
        let (generators, product) = (Generators::default(), Product::new(dir.path()));
        Ground { generators, product, sink, plan, recipe, random, dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where log files are.
    pub fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    /// Starts the load that belongs to the profile: four senders.
    pub fn load(&mut self) -> Option<Arc<Answers>> {
        match self.recipe.profile {
            Profile::A => {
                let rotate = Some(Duration::from_millis(1_500));
                file::start(&self.plan, &self.dir.path().join("logs"), 0, 4, rotate, &mut self.generators);
                None
            }
            Profile::B => Some(http::start(&self.plan, self.recipe.listen, 4, &mut self.generators)),
            Profile::D => {
                tcp::start(&self.plan, self.recipe.listen, 4, false, &mut self.generators);
                None
            }
        }
    }

    /// Starts the product and waits until it is ready.
    pub fn start(&mut self) {
        let recipe = self.recipe.clone();
        self.product.start(|epoch| recipe.config(epoch));
    }

    /// Ends the load, lets the product finish, ends it, and compares. The product's own numbers have to be those counted
    /// outside, to the last entry; `whole` says that it was started only once, so that all its numbers are of all.
    pub fn settle(&mut self, whole: bool) -> Findings {
        self.generators.stop();
        let stats = self.finish();
        let (code, _) = self.product.terminate();
        assert_eq!(code, 0, "the exit code of an end with nothing left");
        self.recount(&stats, whole);
        compare(&self.plan.obligations, self.sink.receipts())
    }

    /// Waits until nothing is left to do, and gives `/stats`. Just started, a product may not have looked at its files yet:
    /// so it is at the end only if it still stands there a while later, and waited for longer if something is missing.
    fn finish(&mut self) -> Value {
        let (mut before, mut missing_since) = (None, None);
        loop {
            let stats = self.product.drain();
            let now = number(row(&stats, "sinks", "out"), "delivered");
            let missing = compare(&self.plan.obligations, self.sink.receipts()).lost > 0;
            let since = *missing_since.get_or_insert_with(Instant::now);
            if before == Some(now) && (!missing || since.elapsed() > LATE) {
                return stats;
            }
            if before != Some(now) {
                missing_since = None;
            }
            before = Some(now);
            sleep(SETTLED);
        }
    }

    /// The product's own numbers against those of the destination.
    fn recount(&self, stats: &Value, whole: bool) {
        assert_ledger(stats);
        let out = row(stats, "sinks", "out");
        let epoch = self.product.epoch;
        let distinct = self.sink.receipts().distinct_of(epoch);
        assert_eq!(number(out, "delivered"), distinct, "delivered, as start {epoch} says and as it arrived");
        if whole {
            let received = number(row(stats, "sources", "in"), "received");
            assert_eq!(
                received,
                self.plan.obligations.sent_count(),
                "received, as it says and as it was sent"
            );
        }
    }
}

/// An address nobody listens on, outside of the range that connections take theirs from.
pub fn free_address(random: &mut fastrand::Rng) -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, random.u16(15_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
