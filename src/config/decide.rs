//! What `auto` comes to on this host: a pure function of what the host has and what the user wrote.

use super::cgroup;
use super::keys::{AffinityConfig, DispatcherConfig, PoolConfig, QuotasConfig};
use super::topology::Machine;
use crate::units::Auto;
use std::path::Path;
use std::time::Duration;

/// What the pool of all pipelines is called that are assigned to no other, and what its workers can.
pub const GENERAL: &str = "general";

/// What the host offers this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The ids of the cores it may run on.
    pub cores: Vec<usize>,
    /// How many of them it may use at once; a cgroup quota can make it fewer.
    pub parallelism: usize,
    /// How these cores are near each other.
    pub machine: Machine,
    /// The bytes of memory it may use: those of the host or, if lower, of its cgroup.
    pub memory: Option<u64>,
}

impl Host {
    /// This host, as this process sees it.
    pub fn here() -> Host {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let cores: Vec<usize> = cores.into_iter().map(|core| core.id).collect();
        Host {
            machine: Machine::read(Path::new("/sys"), Some(&cores)),
            cores,
            parallelism: parallelism(
                std::thread::available_parallelism().map_or(1, |count| count.get()),
                Path::new("/"),
            ),
            memory: memory(Path::new("/")),
        }
    }
}

/// The bytes of memory there may be, by the files below `root`: those of the host, or fewer by its cgroup.
fn memory(root: &Path) -> Option<u64> {
    let total = std::fs::read_to_string(root.join("proc/meminfo")).ok().as_deref().and_then(meminfo_total);
    total.into_iter().chain(cgroup::memory(root)).min()
}

/// How many of `cores` there is time for, by the files below `root`: fewer under a quota of a cgroup. Of a quota of 1.5
/// cores one is left, as the kernel stops two before a period is over.
fn parallelism(cores: usize, root: &Path) -> usize {
    let quota = cgroup::cores(root).map_or(cores, |quota| quota as usize);
    cores.min(quota).max(1)
}

fn meminfo_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Every `auto` replaced by a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// How many workers the general pool has at the start.
    pub workers: usize,
    /// What `auto` comes to for the workers of the general pool: at the start, and at most.
    pub auto_workers: (usize, usize),
    /// The pools of workers, the general one first.
    pub pools: Vec<PoolPlan>,
    /// Most memory for blocks, in bytes.
    pub max_memory: usize,
    /// The cores of each kind of thread; an empty list pins nothing.
    pub cores: Cores,
}

/// What one pool of workers is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// How many workers it has at the start.
    pub start: usize,
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
    /// How long one that has nothing to do is kept.
    pub idle_timeout: Duration,
    /// Their cores, one each in turn; an empty list binds them to none.
    pub cores: Vec<usize>,
    /// What pipelines can ask for.
    pub capabilities: Vec<String>,
}

impl Decided {
    /// The same for another config on the same host: what is written counts as it is written now, what `auto` came to
    /// stays.
    pub fn again(&self, dispatcher: &DispatcherConfig) -> Decided {
        let pools = pools(self.auto_workers, dispatcher, &self.cores.workers);
        Decided { pools, ..self.clone() }
    }
}

/// The cores of each kind of thread; an empty list pins nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cores {
    /// The thread of the sockets.
    pub intake: Vec<usize>,
    /// The threads that read files.
    pub readers: Vec<usize>,
    /// The workers, each on one core of the list in turn.
    pub workers: Vec<usize>,
    /// The threads that deliver.
    pub senders: Vec<usize>,
}

/// Decides what was left open.
pub fn decide(
    host: &Host,
    dispatcher: &DispatcherConfig,
    quotas: &QuotasConfig,
    affinity: &AffinityConfig,
) -> Decided {
    let start = match &affinity.workers {
        Auto::Set(cores) if !cores.is_empty() => cores.len(),
        // Up to two cores, a second worker mostly takes turns with the first, or takes the core of those that feed it.
        _ => match time_of(host, quotas) {
            0..=2 => 1,
            3 => 2,
            more => (more - 2).min(AUTO_MAX),
        },
    };
    let workers = general(dispatcher, (start, start)).0;
    let cores = cores(host, affinity, &dispatcher.worker_pool.pools.0, workers);
    // Each worker on a core of its own is all there can be; where none is bound to any, as many as can run at once.
    let most = if cores.workers.is_empty() { time_of(host, quotas).min(AUTO_MAX).max(start) } else { start };
    Decided {
        workers,
        auto_workers: (start, most),
        pools: pools((start, most), dispatcher, &cores.workers),
        max_memory: max_memory(host, quotas),
        cores,
    }
}

/// The most workers that `auto` comes to.
const AUTO_MAX: usize = 64;

/// How many workers the general pool has: at the start, at least and at most.
fn general(dispatcher: &DispatcherConfig, (start, most): (usize, usize)) -> (usize, usize, usize) {
    let pool = &dispatcher.worker_pool;
    let written = dispatcher.worker_count.set().copied();
    let (least, limit) = (pool.min_workers.set().copied(), pool.max_workers.set().copied());
    // Who writes a number gets it, unless they write between which it may move.
    let max = limit.unwrap_or(written.unwrap_or(most).max(least.unwrap_or(1)));
    let fixed = written.filter(|_| limit.is_none());
    let min = least.unwrap_or(fixed.unwrap_or(1)).min(max);
    (written.unwrap_or(start).clamp(min, max), min, max)
}

/// The pools that `dispatcher` wants, where `auto` comes to so many workers in the general one.
fn pools(auto: (usize, usize), dispatcher: &DispatcherConfig, cores: &[usize]) -> Vec<PoolPlan> {
    let pool = &dispatcher.worker_pool;
    let idle_timeout = pool.idle_timeout;
    let (start, min, max) = general(dispatcher, auto);
    let general = PoolPlan {
        name: GENERAL.into(),
        start,
        min,
        max,
        idle_timeout,
        cores: cores.to_vec(),
        capabilities: vec![GENERAL.into()],
    };
    let named = pool.pools.0.iter().map(|(name, pool)| PoolPlan {
        name: name.clone(),
        start: pool.workers.min,
        min: pool.workers.min,
        max: pool.workers.max,
        idle_timeout,
        cores: pool.cores.set().cloned().unwrap_or_default(),
        capabilities: pool.capabilities.clone(),
    });
    std::iter::once(general).chain(named).collect()
}

/// How many cores there is time for. `cpu_limit` counts as the next whole number: who keeps to it is not stopped, and shares
/// what there is among the threads as they need it.
fn time_of(host: &Host, quotas: &QuotasConfig) -> usize {
    let limit = quotas.cpu_limit.map_or(usize::MAX, |hundredths| hundredths.div_ceil(100) as usize);
    host.parallelism.min(limit)
}

fn max_memory(host: &Host, quotas: &QuotasConfig) -> usize {
    match quotas.max_memory {
        Auto::Set(bytes) => bytes,
        // A quarter leaves room for the page cache that files are read from and written to.
        Auto::Auto => host.memory.map_or(256 << 20, |bytes| (bytes as usize / 4).clamp(64 << 20, 1 << 30)),
    }
}

fn cores(host: &Host, affinity: &AffinityConfig, pools: &[(String, PoolConfig)], workers: usize) -> Cores {
    let AffinityConfig { intake, readers, workers: worker_cores, senders } = affinity;
    let kinds = [intake, readers, worker_cores, senders];
    let of_pools = pools.iter().map(|(_, pool)| &pool.cores);
    let written = kinds.into_iter().chain(of_pools).filter_map(|kind| kind.set());
    let taken: Vec<usize> = written.flatten().copied().collect();
    let free = host.machine.order(&taken);
    let mut auto = Cores::default();
    // Under a quota the kernel stops all threads together when it is spent, whatever core they are pinned to, and on
    // two cores every pin takes a choice from the scheduler that it makes better: both leave all threads free.
    let pin = host.parallelism > 2 && host.parallelism >= host.cores.len();
    if let ([first, second, rest @ ..], true) = (&free[..], pin) {
        let reader = if rest.len() < 2 { first } else { second };
        auto.intake = vec![*first];
        auto.readers = vec![*reader];
        // The next ones after these two, and their siblings last of all.
        let for_workers = host.machine.order(&[&taken[..], &[*first, *reader]].concat());
        // More workers than cores would take turns on some while others rest.
        auto.workers = if workers <= for_workers.len() { for_workers } else { Vec::new() };
    }
    let choose = |written: &Auto<Vec<usize>>, auto: Vec<usize>| written.set().cloned().unwrap_or(auto);
    Cores {
        intake: choose(intake, auto.intake),
        readers: choose(readers, auto.readers),
        workers: choose(worker_cores, auto.workers),
        senders: choose(senders, auto.senders),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(cores: usize, parallelism: usize, affinity: AffinityConfig) -> Decided {
        let ids: Vec<usize> = (0..cores).collect();
        let machine = Machine::flat(&ids);
        let host = Host { cores: ids, machine, parallelism, memory: Some(8 << 30) };
        decide(&host, &DispatcherConfig::default(), &QuotasConfig::default(), &affinity)
    }

    #[test]
    fn two_cores_or_fewer_pin_nothing_and_run_one_worker() {
        for count in 0..=2 {
            let decided = decided(count, count.max(1), AffinityConfig::default());
            assert_eq!((decided.workers, decided.cores), (1, Cores::default()), "{count} cores");
        }
    }

    /// Start, least and most of the general pool on a host of so many cores.
    fn workers(cores: usize, parallelism: usize, dispatcher: &str) -> [usize; 3] {
        let ids: Vec<usize> = (0..cores).collect();
        let host = Host { machine: Machine::flat(&ids), cores: ids, parallelism, memory: None };
        let dispatcher: DispatcherConfig = serde_yaml::from_str(dispatcher).unwrap();
        let decided = decide(&host, &dispatcher, &QuotasConfig::default(), &AffinityConfig::default());
        let PoolPlan { start, min, max, .. } = decided.pools[0];
        assert_eq!(decided.workers, start);
        [start, min, max]
    }

    #[test]
    fn auto_is_one_to_as_many_as_can_run_at_once_or_have_a_core_each() {
        let auto = |cores, parallelism| workers(cores, parallelism, "{}");
        assert_eq!([auto(1, 1), auto(2, 2), auto(3, 3)], [[1, 1, 1], [1, 1, 2], [2, 1, 2]]);
        assert_eq!([auto(8, 8), auto(128, 128)], [[6, 1, 6], [64, 1, 64]]);
        // Under a quota nothing is bound to a core.
        assert_eq!([auto(16, 4), auto(2, 1)], [[2, 1, 4], [1, 1, 1]]);
    }

    #[test]
    fn a_written_number_of_workers_is_what_there_is_unless_they_may_move() {
        let of = |keys: &str| workers(8, 8, keys);
        assert_eq!(of("worker_count: 3"), [3, 3, 3]);
        assert_eq!(of("{ worker_count: 3, worker_pool: { min_workers: 2 } }"), [3, 2, 3]);
        assert_eq!(of("{ worker_count: 3, worker_pool: { max_workers: 9 } }"), [3, 1, 9]);
        assert_eq!(of("{ worker_pool: { min_workers: 2, max_workers: 4 } }"), [4, 2, 4]);
        assert_eq!(of("{ worker_pool: { min_workers: 9 } }"), [9, 9, 9]);
        assert_eq!(of("{ worker_pool: { max_workers: 2 } }"), [2, 1, 2]);
    }

    #[test]
    fn a_reload_takes_what_is_written_and_keeps_what_auto_came_to() {
        let before = decided(8, 8, AffinityConfig::default());
        let text = "{ worker_pool: { min_workers: 2, idle_timeout: 1s, pools: { p: { workers: { min: 1, max: 3 } } } } }";
        let after = before.again(&serde_yaml::from_str(text).unwrap());
        let bounds = |pool: &PoolPlan| (pool.name.clone(), pool.min, pool.max, pool.idle_timeout.as_secs());
        let pools: Vec<_> = after.pools.iter().map(bounds).collect();
        assert_eq!(pools, [("general".into(), 2, 6, 1), ("p".into(), 1, 3, 1)]);
        assert_eq!(before.again(&DispatcherConfig::default()), before);
    }

    #[test]
    fn cores_of_a_pool_are_its_own() {
        let text = "{ worker_pool: { pools: { p: { cores: [2, 3] } } } }";
        let dispatcher: DispatcherConfig = serde_yaml::from_str(text).unwrap();
        let ids: Vec<usize> = (0..8).collect();
        let host = Host { machine: Machine::flat(&ids), cores: ids, parallelism: 8, memory: None };
        let decided = decide(&host, &dispatcher, &QuotasConfig::default(), &AffinityConfig::default());
        assert_eq!(decided.pools[1].cores, [2, 3]);
        // Six of the others would not have a core each.
        assert_eq!((decided.cores.workers, decided.cores.readers), (vec![], vec![1]));
    }

    #[test]
    fn more_cores_are_shared_out_without_two_busy_kinds_on_one() {
        let three = decided(3, 3, AffinityConfig::default());
        assert_eq!((three.workers, three.cores.workers), (2, vec![1, 2]));
        let eight = decided(8, 8, AffinityConfig::default());
        let cores = Cores { intake: vec![0], readers: vec![1], workers: (2..8).collect(), senders: vec![] };
        assert_eq!((eight.workers, eight.cores), (6, cores));
    }

    #[test]
    fn a_quota_below_the_cores_counts_and_pins_nothing() {
        let decided = decided(16, 4, AffinityConfig::default());
        assert_eq!((decided.workers, decided.cores), (2, Cores::default()));
    }

    #[test]
    fn a_quota_of_a_cgroup_leaves_the_whole_cores_of_it_and_one_at_least() {
        let of = |cpu_max: &str| {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("sys/fs/cgroup")).unwrap();
            std::fs::write(root.path().join("sys/fs/cgroup/cpu.max"), cpu_max).unwrap();
            parallelism(8, root.path())
        };
        let quotas = ["max 100000", "150000 100000", "20000 100000", "390000 100000", "6400000 100000"];
        assert_eq!(quotas.map(of), [8, 1, 1, 3, 8]);
    }

    #[test]
    fn a_cpu_limit_counts_for_the_workers_and_leaves_threads_on_their_cores() {
        let of = |cpu_limit| {
            let ids: Vec<usize> = (0..16).collect();
            let host =
                Host { machine: Machine::flat(&ids), cores: ids, parallelism: 16, memory: Some(8 << 30) };
            let quotas = QuotasConfig { cpu_limit, ..QuotasConfig::default() };
            decide(&host, &DispatcherConfig::default(), &quotas, &AffinityConfig::default())
        };
        let workers =
            [None, Some(30), Some(150), Some(250), Some(401), Some(9900)].map(|cpu| of(cpu).workers);
        assert_eq!(workers, [14, 1, 1, 2, 3, 14]);
        assert_eq!(of(Some(401)).cores.workers[..3], [2, 3, 4]);
    }

    #[test]
    fn what_is_written_wins_and_the_rest_keeps_away_from_it() {
        let affinity = AffinityConfig {
            workers: Auto::Set(vec![0, 1]),
            senders: Auto::Set(vec![]),
            ..Default::default()
        };
        let decided = decided(6, 6, affinity);
        assert_eq!((decided.workers, decided.cores.workers), (2, vec![0, 1]));
        assert_eq!((decided.cores.intake, decided.cores.readers), (vec![2], vec![3]));
    }

    #[test]
    fn workers_have_physical_cores_of_their_own_before_siblings_of_the_intake_are_used() {
        // Four physical cores of two threads: 0 and 4, 1 and 5, ...
        let mut machine = Machine::flat(&(0..8).collect::<Vec<_>>());
        machine.cores.iter_mut().for_each(|core| core.physical = core.id % 4);
        let host = Host { cores: (0..8).collect(), machine, parallelism: 8, memory: None };
        let dispatcher =
            |workers| DispatcherConfig { worker_count: Auto::Set(workers), ..Default::default() };
        let cores = |workers| {
            let affinity = AffinityConfig::default();
            decide(&host, &dispatcher(workers), &QuotasConfig::default(), &affinity).cores
        };
        let few = cores(2);
        assert_eq!((few.intake, few.readers, &few.workers[..2]), (vec![0], vec![1], &[2, 3][..]));
        assert_eq!(cores(6).workers, [2, 3, 6, 7, 4, 5]);
    }

    #[test]
    fn the_memory_of_a_cgroup_counts_where_it_is_less_than_that_of_the_host() {
        let of = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            memory(root.path())
        };
        let (host, group) = (("proc/meminfo", "MemTotal: 4096 kB\n"), "sys/fs/cgroup/memory.max");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[host, (group, "max\n")]), Some(4 << 20));
        assert_eq!(of(&[host, (group, "1048576\n")]), Some(1 << 20));
        assert_eq!(of(&[host, (group, "9223372036854771712\n")]), Some(4 << 20));
    }

    #[test]
    fn memory_is_a_quarter_of_what_there_is_within_limits() {
        let of = |memory| {
            max_memory(
                &Host { cores: vec![], machine: Machine::default(), parallelism: 1, memory },
                &QuotasConfig::default(),
            )
        };
        assert_eq!((of(Some(2 << 30)), of(Some(1 << 40)), of(Some(1 << 20))), (512 << 20, 1 << 30, 64 << 20));
        assert_eq!(of(None), 256 << 20);
        assert_eq!(meminfo_total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16384));
        assert!(Host::here().memory.is_some() || !cfg!(target_os = "linux"));
    }
}
