//! What the cgroup of this process, and those it is in, leave it of the host's memory and CPU: read below a root, so that a
//! test can bring its own.
//!
//! Of version 2 there is one tree, of version 1 one per controller. In a container the path of the process is often that of
//! the host while its own group is mounted as the root of the tree: then the root is looked at, as what is above any path.

use std::path::{Path, PathBuf};

/// Most bytes of memory, the least of all groups; none where nothing says so.
pub fn memory(root: &Path) -> Option<u64> {
    // Without a limit version 2 says `max`, and version 1 a number larger than any memory.
    let number = |text: String| text.trim().parse().ok();
    let two = groups(root, "").into_iter().filter_map(|dir| number(read(&dir.join("memory.max"))?));
    let one = groups(root, "memory").into_iter();
    two.chain(one.filter_map(|dir| number(read(&dir.join("memory.limit_in_bytes"))?))).min()
}

/// Most cores' worth of time, the least of all groups; none where nothing says so.
pub fn cores(root: &Path) -> Option<f64> {
    let two = groups(root, "").into_iter().filter_map(|dir| {
        let text = read(&dir.join("cpu.max"))?;
        let (quota, period) = text.trim().split_once(' ')?;
        share(quota, period)
    });
    let one = groups(root, "cpu").into_iter().filter_map(|dir| {
        let file = |name: &str| read(&dir.join(name));
        share(&file("cpu.cfs_quota_us")?, &file("cpu.cfs_period_us")?)
    });
    two.chain(one).min_by(f64::total_cmp)
}

/// How much of a core this much of each period is. `max` or -1 is no limit.
fn share(quota: &str, period: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| *number > 0);
    Some(number(quota)? as f64 / number(period)? as f64)
}

/// The directories of the process's own group of `controller` and of all that it is in; the one of version 2 has no
/// controller (cgroups(7)).
fn groups(root: &Path, controller: &str) -> Vec<PathBuf> {
    let all = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let path = all.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let is_it = controllers.split(',').any(|name| name == controller);
        parts.next().filter(|_| is_it)
    });
    let tree = root.join("sys/fs/cgroup").join(controller);
    let below = Path::new(path.unwrap_or("/")).strip_prefix("/").unwrap_or(Path::new(""));
    below.ancestors().map(|group| tree.join(group)).collect()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const TWO: (&str, &str) = ("proc/self/cgroup", "0::/user.slice/a.service\n");
    const ONE: (&str, &str) =
        ("proc/self/cgroup", "5:memory:/box/a\n4:cpu,cpuacct:/box/a\n1:name=systemd:/elsewhere\n");

    #[test]
    fn a_quota_of_version_2_counts_and_the_least_of_those_above_it() {
        let cores = |files: &[(&str, &str)]| cores(host(&[&[TWO], files].concat()).path());
        let (own, above) = ("sys/fs/cgroup/user.slice/a.service/cpu.max", "sys/fs/cgroup/user.slice/cpu.max");
        assert_eq!(cores(&[]), None);
        assert_eq!(cores(&[(own, "max 100000\n")]), None);
        assert_eq!(cores(&[(own, "150000 100000\n")]), Some(1.5));
        assert_eq!(cores(&[(own, "150000 100000\n"), (above, "50000 50000\n")]), Some(1.0));
        assert_eq!(cores(&[(own, "150000 100000\n"), (above, "400000 100000\n")]), Some(1.5));
        assert_eq!(cores(&[(own, "max 100000\n"), (above, "200000 100000\n")]), Some(2.0));
        // A group beside ours is none of our business.
        assert_eq!(cores(&[("sys/fs/cgroup/user.slice/b.service/cpu.max", "1000 100000\n")]), None);
        for broken in ["", "max", "0 0", "1 0", "x y", "-1 100000"] {
            assert_eq!(cores(&[(own, broken)]), None, "{broken}");
        }
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root_whatever_its_path_is_called() {
        let root = [("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "50000 100000\n")];
        assert_eq!(cores(host(&root).path()), Some(0.5));
        let mounted = [
            ("proc/self/cgroup", "4:cpu,cpuacct:/docker/0123\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(cores(host(&mounted).path()), Some(2.5));
    }

    #[test]
    fn a_quota_of_version_1_counts_and_minus_one_is_none() {
        let cores = |quota: &str| {
            let own = "sys/fs/cgroup/cpu/box/a/cpu.cfs_quota_us";
            let period = ("sys/fs/cgroup/cpu/box/a/cpu.cfs_period_us", "100000\n");
            cores(host(&[ONE, (own, quota), period]).path())
        };
        assert_eq!((cores("150000\n"), cores("-1\n")), (Some(1.5), None));
    }

    #[test]
    fn limits_of_memory_of_either_version_count_also_those_of_groups_above() {
        let (two, above) = ("sys/fs/cgroup/user.slice/a.service/memory.max", "sys/fs/cgroup/memory.max");
        let one = "sys/fs/cgroup/memory/box/memory.limit_in_bytes";
        for (files, limit) in [
            (&[TWO][..], None),
            (&[TWO, (two, "max\n")], None),
            (&[TWO, (two, "max\n"), (above, "4096\n")], Some(4096)),
            (&[TWO, (two, "1048576\n"), (above, "max\n")], Some(1 << 20)),
            (&[ONE, (one, "2097152\n")], Some(2 << 20)),
            (&[ONE, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "12345\n")], Some(12345)),
        ] {
            assert_eq!(memory(host(files).path()), limit, "{files:?}");
        }
    }
}
