//! The machine as the system shows it below `/sys`: which cores are one, share a cache, or are near the same memory; and
//! in which order threads that hand blocks to each other take them.
//!
//! Reading takes a root path and everything else is pure, so that machines nobody has at hand can be tried. What a file
//! does not say is taken as on the simplest machine: every core its own, one cache, one node.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One core as the scheduler sees it: a thread of a physical core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Core {
    /// The system's number.
    pub id: usize,
    /// The socket it is in.
    pub socket: usize,
    /// The NUMA node its memory is near.
    pub node: usize,
    /// The lowest number of those that share its last cache.
    pub cache: usize,
    /// The lowest number of those that are one physical core with it.
    pub physical: usize,
    /// How fast it is, to be compared with others of the machine.
    pub speed: u64,
    /// It is kept free of other work (`isolcpus`).
    pub isolated: bool,
}

/// The cores of a machine that this process may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// By number.
    pub cores: Vec<Core>,
    /// The numbers of those that are there and not online.
    pub offline: Vec<usize>,
}

impl Machine {
    /// Cores of which nothing is known but their numbers.
    pub fn flat(ids: &[usize]) -> Self {
        let core = |id: &usize| Core {
            id: *id,
            socket: 0,
            node: 0,
            cache: 0,
            physical: *id,
            speed: 0,
            isolated: false,
        };
        Machine { cores: ids.iter().map(core).collect(), offline: Vec::new() }
    }

    /// Reads the tree below `sys` (mostly `/sys`). Of its cores only those of `allowed` count, if that is given.
    pub fn read(sys: &Path, allowed: Option<&[usize]>) -> Self {
        let cpus = sys.join("devices/system/cpu");
        let list =
            |path: &Path| fs::read_to_string(path).ok().map(|text| parse_list(&text)).unwrap_or_default();
        let (mut online, present) = (list(&cpus.join("online")), list(&cpus.join("present")));
        if online.is_empty() {
            online = allowed.map(<[usize]>::to_vec).unwrap_or_default();
        }
        let isolated = list(&cpus.join("isolated"));
        let nodes = nodes(&sys.join("devices/system/node"));
        let offline = present.into_iter().filter(|id| !online.contains(id)).collect();
        online.retain(|id| allowed.is_none_or(|allowed| allowed.contains(id)));
        let core = |id: &usize| {
            let own = cpus.join(format!("cpu{id}"));
            let number = |name: &str| fs::read_to_string(own.join(name)).ok()?.trim().parse::<u64>().ok();
            let siblings = list(&own.join("topology/thread_siblings_list"));
            Core {
                id: *id,
                socket: number("topology/physical_package_id").unwrap_or(0) as usize,
                node: nodes.get(id).copied().unwrap_or(0),
                cache: last_cache(&own.join("cache")).unwrap_or(0),
                physical: siblings.first().copied().unwrap_or(*id),
                speed: number("cpu_capacity").or(number("cpufreq/cpuinfo_max_freq")).unwrap_or(0),
                isolated: isolated.contains(id),
            }
        };
        Machine { cores: online.iter().map(core).collect(), offline }
    }

    /// The core of this number.
    pub fn core(&self, id: usize) -> Option<&Core> {
        self.cores.iter().find(|core| core.id == id)
    }

    /// How many physical cores there are.
    pub fn physical(&self) -> usize {
        let mut physical: Vec<usize> = self.cores.iter().map(|core| core.physical).collect();
        physical.sort_unstable();
        physical.dedup();
        physical.len()
    }

    /// The order in which threads that hand blocks to each other take cores: one thread of each physical core before the
    /// second of any, fast ones before slow ones, all of one cache before the next, all of one node before the next.
    /// Isolated cores only if there are no others; `taken` are not given out, nor are their siblings before all others.
    pub fn order(&self, taken: &[usize]) -> Vec<usize> {
        let some = self.cores.iter().any(|core| !core.isolated);
        let usable = || self.cores.iter().filter(|core| !(some && core.isolated));
        // Not the same speed to the last step: a few percent are no other kind of core.
        let fast = usable().map(|core| core.speed).max().unwrap_or(0);
        let slow = |core: &Core| core.speed * 100 < fast * 85;
        let busy = |core: &Core| {
            taken.iter().any(|id| self.core(*id).is_some_and(|one| one.physical == core.physical))
        };
        // The size of what a core shares: larger groups first, so that as many as can be are together.
        let of_node = |core: &Core| usable().filter(|one| one.node == core.node && !slow(one)).count();
        let of_cache = |core: &Core| usable().filter(|one| one.cache == core.cache && !slow(one)).count();
        let mut firsts: BTreeMap<usize, usize> = BTreeMap::new();
        for core in usable() {
            firsts.entry(core.physical).or_insert(core.id);
        }
        let second = |core: &Core| firsts.get(&core.physical) != Some(&core.id);
        let mut all: Vec<&Core> = usable().filter(|core| !taken.contains(&core.id)).collect();
        all.sort_by_key(|core| {
            let place =
                (usize::MAX - of_node(core), core.node, usize::MAX - of_cache(core), core.cache, core.id);
            (busy(core), second(core), slow(core), place)
        });
        all.into_iter().map(|core| core.id).collect()
    }

    /// What is not as it should be where threads of different kinds are bound to these cores.
    pub fn warnings(&self, kinds: &[(&str, &[usize])]) -> Vec<String> {
        let mut all = Vec::new();
        for (kind, cores) in kinds {
            for id in cores.iter().filter(|id| self.offline.contains(id)) {
                all.push(format!("{kind} are bound to core {id}, which is offline"));
            }
        }
        let homes: Vec<(&str, &Core)> = kinds
            .iter()
            .flat_map(|(kind, cores)| cores.iter().filter_map(|id| Some((*kind, self.core(*id)?))))
            .collect();
        for (at, (kind, core)) in homes.iter().enumerate() {
            let shares = |(_, one): &&(&str, &Core)| one.physical == core.physical && one.id != core.id;
            if let Some((other, one)) = homes[..at].iter().find(shares) {
                all.push(format!(
                    "{other} (core {}) and {kind} (core {}) share a physical core",
                    one.id, core.id
                ));
            }
        }
        let mut nodes: Vec<usize> = homes.iter().map(|(_, core)| core.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() > 1 {
            all.push(format!("blocks cross between the memory of NUMA nodes {nodes:?}"));
        }
        all
    }
}

fn nodes(dir: &Path) -> BTreeMap<usize, usize> {
    let mut of = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node")?.parse::<usize>().ok());
        let Some(node) = number else { continue };
        let cores = fs::read_to_string(entry.path().join("cpulist")).unwrap_or_default();
        of.extend(parse_list(&cores).into_iter().map(|core| (core, node)));
    }
    of
}

/// The lowest number of those that share the highest level of cache.
fn last_cache(dir: &Path) -> Option<usize> {
    let indexes = fs::read_dir(dir).ok()?.flatten();
    let last = indexes.filter_map(|index| {
        let read = |name: &str| fs::read_to_string(index.path().join(name)).ok();
        let level: u8 = read("level")?.trim().parse().ok()?;
        Some((level, parse_list(&read("shared_cpu_list")?).first().copied()?))
    });
    last.max_by_key(|(level, _)| *level).map(|(_, first)| first)
}

/// Most cores a list may name: more are a slip.
const CORES_MAX: usize = 1 << 14;

/// The numbers of a list such as `0-3,8` (the kernel's list format), sorted; what is none is left out.
pub fn parse_list(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
            && last < CORES_MAX
        {
            all.extend(first..=last);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as the kernel shows it. Each core: socket, node, cache, physical core, speed.
    fn tree(cores: &[(usize, [usize; 4], u64)], more: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: String, text: String| {
            let path = dir.path().join("devices/system").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text + "\n").unwrap();
        };
        let list = |ids: Vec<usize>| ids.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let of = |place: usize, value: usize| -> Vec<usize> {
            cores.iter().filter(|(_, groups, _)| groups[place] == value).map(|(id, ..)| *id).collect()
        };
        write("cpu/online".into(), list(cores.iter().map(|(id, ..)| *id).collect()));
        for (id, [socket, node, cache, physical], speed) in cores {
            write(format!("cpu/cpu{id}/topology/physical_package_id"), socket.to_string());
            write(format!("cpu/cpu{id}/topology/thread_siblings_list"), list(of(3, *physical)));
            write(format!("cpu/cpu{id}/cache/index2/level"), "2".into());
            write(format!("cpu/cpu{id}/cache/index2/shared_cpu_list"), list(of(3, *physical)));
            write(format!("cpu/cpu{id}/cache/index3/level"), "3".into());
            write(format!("cpu/cpu{id}/cache/index3/shared_cpu_list"), list(of(2, *cache)));
            if *speed > 0 {
                write(format!("cpu/cpu{id}/cpu_capacity"), speed.to_string());
            }
            write(format!("node/node{node}/cpulist"), list(of(1, *node)));
        }
        more.iter().for_each(|(path, text)| write((*path).into(), (*text).into()));
        dir
    }

    fn all_differ(machine: &Machine, ids: &[usize], what: impl Fn(&Core) -> usize) -> bool {
        let mut values: Vec<usize> = ids.iter().map(|id| what(machine.core(*id).unwrap())).collect();
        values.sort_unstable();
        let before = values.len();
        values.dedup();
        values.len() == before
    }

    fn one(machine: &Machine, ids: &[usize], what: impl Fn(&Core) -> usize) -> bool {
        let first = what(machine.core(ids[0]).unwrap());
        ids.iter().all(|id| what(machine.core(*id).unwrap()) == first)
    }

    #[test]
    fn two_sockets_of_64_cores_with_siblings_fill_the_cores_of_one_node_first() {
        // As such machines number them: all first threads, then all second ones.
        let core = |id: usize| {
            let (physical, socket) = (id % 128, id % 128 / 64);
            (id, [socket, socket, socket, physical], 0)
        };
        let tree = tree(&(0..256).map(core).collect::<Vec<_>>(), &[]);
        let machine = Machine::read(tree.path(), None);
        assert_eq!((machine.cores.len(), machine.physical()), (256, 128));
        let order = machine.order(&[]);
        assert_eq!(order.len(), 256);
        assert!(
            one(&machine, &order[..64], |core| core.node) && one(&machine, &order[64..128], |core| core.node)
        );
        assert!(all_differ(&machine, &order[..128], |core| core.physical));
        assert_eq!((order[0], order[64], order[128]), (0, 64, 128));
        // A core that is taken keeps its sibling free as long as there are others.
        assert_eq!(machine.order(&[5]).last(), Some(&133));
    }

    #[test]
    fn one_socket_of_eight_caches_fills_one_after_the_other() {
        let core = |id: usize| (id, [0, 0, id % 64 / 8, id % 64], 0);
        let tree = tree(&(0..128).map(core).collect::<Vec<_>>(), &[]);
        let machine = Machine::read(tree.path(), None);
        let order = machine.order(&[]);
        for cache in order[..64].chunks(8) {
            assert!(one(&machine, cache, |core| core.cache), "{cache:?}");
        }
        assert!(all_differ(&machine, &order[..64], |core| core.physical));
    }

    #[test]
    fn cores_without_siblings_or_caches_are_taken_in_turn() {
        let tree = tree(&(0..32).map(|id| (id, [0, 0, 0, id], 1024)).collect::<Vec<_>>(), &[]);
        let machine = Machine::read(tree.path(), None);
        assert_eq!(machine.order(&[]), (0..32).collect::<Vec<_>>());
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(Machine::read(nothing.path(), Some(&[3, 4])), Machine::flat(&[3, 4]));
    }

    #[test]
    fn fast_cores_come_before_slow_ones_and_siblings_after_both() {
        // Four fast cores of two threads each, numbered in pairs, then eight slow ones.
        let fast = (0..8).map(|id| (id, [0, 0, 0, id / 2], 1024));
        let slow = (8..16).map(|id| (id, [0, 0, 0, id], 600));
        let tree = tree(&fast.chain(slow).collect::<Vec<_>>(), &[]);
        let order = Machine::read(tree.path(), None).order(&[]);
        assert_eq!(order, [0, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 1, 3, 5, 7]);
    }

    #[test]
    fn only_what_may_be_used_counts_and_isolated_cores_are_left_alone() {
        let cores: Vec<_> = (0..16).filter(|id| *id != 3).map(|id| (id, [0, 0, 0, id % 8], 0)).collect();
        let tree = tree(&cores, &[("cpu/isolated", "4,5,12,13"), ("cpu/present", "0-15")]);
        let machine = Machine::read(tree.path(), None);
        assert_eq!(machine.offline, [3]);
        assert_eq!(machine.order(&[]), [0, 1, 2, 6, 7, 11, 8, 9, 10, 14, 15]);
        let few = Machine::read(tree.path(), Some(&[2, 10, 12]));
        assert_eq!(few.order(&[]), [2, 10]);
        let one = Machine::read(tree.path(), Some(&[12]));
        assert_eq!(one.order(&[]), [12]);
    }

    #[test]
    fn what_is_not_as_it_should_be_is_said() {
        let core = |id: usize| (id, [id % 4 / 2, id % 4 / 2, id % 4 / 2, id % 4], 0);
        let tree = tree(&(0..8).map(core).collect::<Vec<_>>(), &[("cpu/present", "0-9")]);
        let machine = Machine::read(tree.path(), None);
        assert!(machine.warnings(&[("readers", &[0]), ("workers", &[1])]).is_empty());
        let warnings = machine.warnings(&[("readers", &[0]), ("workers", &[4, 2, 9])]);
        let expected = [
            "workers are bound to core 9, which is offline",
            "readers (core 0) and workers (core 4) share a physical core",
            "blocks cross between the memory of NUMA nodes [0, 1]",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list("2,1,1"), [1, 2]);
        for nothing in ["", "\n", "a-b", "5-", "0-99999999999", "3-1"] {
            assert!(parse_list(nothing).is_empty(), "{nothing:?}");
        }
    }
}
