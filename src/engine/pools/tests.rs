//! Pools with real threads and a time that is an argument: who comes, who goes, and what they are called.

use super::*;
use crate::config::Config;
use crate::worker::elastic::PAUSE;

fn config(pool: &str) -> Config {
    let text = format!(
        "dispatcher: {{ worker_pool: {{ {pool} }} }}\nsources: {{ in: {{ type: stdin }} }}\n\
         sinks: {{ out: {{ type: blackhole }} }}\n"
    );
    Config::parse("test", &text, &|_| None).unwrap_or_else(|report| panic!("{report}"))
}

fn pools(config: &Config) -> Pools {
    let transit = config.decided.pools.iter().map(|_| 4 << 20).collect();
    let shares = Shares {
        blocks: 64 << 20,
        transit: 4 << 20,
        pools: transit,
        lane: crate::lane::Quota { high: 1, low: 0 },
    };
    let means = Means {
        threads: Threads::default(),
        domains: Arc::default(),
        taps: Arc::default(),
        done: Arc::default(),
    };
    let pools = Pools::new(config, &shares, Blocks::new(0), &Telemetry::new(), means);
    pools.start(&config.decided).expect("threads");
    pools
}

/// The names of the workers, those that are leaving not among them.
fn names(pools: &Pools) -> Vec<String> {
    let stats = pools.worker_stats(Instant::now());
    stats.each.into_iter().filter(|worker| !worker.leaving).map(|worker| worker.name).collect()
}

/// Waits until all that were told to leave have left: what they leave behind is looked at then.
fn wait_left(pools: &Pools) {
    for pool in &pools.all {
        let all_left = || {
            let crew = pool.crew.lock();
            crew.members.iter().all(|member| !member.seat.is_told() || member.has_ended())
        };
        while !all_left() {
            std::thread::yield_now();
        }
    }
}

fn end(pools: &Pools) {
    pools.close();
    assert!(pools.wait(Instant::now() + Duration::from_secs(20)), "all end when the rings are closed");
}

#[test]
fn each_pool_has_its_workers_by_its_own_name_and_its_own_ring() {
    let pools = pools(&config("max_workers: 2, min_workers: 2, pools: { heavy: { workers: 3 } }"));
    let expected = ["worker-0", "worker-1", "worker-heavy-0", "worker-heavy-1", "worker-heavy-2"];
    assert_eq!(names(&pools), expected);
    assert!(!Arc::ptr_eq(&pools.all[0].hallway, &pools.all[1].hallway));
    end(&pools);
}

#[test]
fn other_bounds_are_in_force_at_the_next_look_and_the_lowest_free_number_is_taken() {
    let pools = pools(&config("max_workers: 1"));
    let t0 = Instant::now();
    let bounds = |min: usize, max: usize| {
        pools.set_bounds(&config(&format!("min_workers: {min}, max_workers: {max}")).decided);
    };
    bounds(3, 4);
    let next = pools.look(t0);
    assert!(next > t0);
    assert_eq!(names(&pools), ["worker-0", "worker-1", "worker-2"]);
    bounds(1, 1);
    pools.look(next);
    assert_eq!(
        names(&pools),
        ["worker-1"],
        "who has had nothing to do for longest goes first, then who came last"
    );
    wait_left(&pools);
    bounds(2, 2);
    pools.look(next + REST);
    assert_eq!(names(&pools), ["worker-0", "worker-1"]);
    let stats = &pools.worker_stats(next + 3 * REST).pools[0];
    assert_eq!((stats.grown, stats.shrunk, stats.min, stats.max), (3, 2, 2, 2));
    assert_eq!(stats.last_change.as_deref(), Some("1 -> 2: there were fewer than 2"));
    assert_eq!(stats.last_change_seconds, Some(2.0));
    end(&pools);
}

#[test]
fn who_has_nothing_to_do_for_the_timeout_goes_one_a_look_and_the_least_stay() {
    let pools = pools(&config("min_workers: 4, max_workers: 4, idle_timeout: 10s"));
    let t0 = Instant::now();
    pools.look(t0);
    pools.set_bounds(&config("min_workers: 2, max_workers: 4, idle_timeout: 10s").decided);
    let s = |seconds| t0 + Duration::from_secs(seconds);
    pools.look(s(9));
    assert_eq!(names(&pools).len(), 4);
    pools.look(s(10));
    assert_eq!(names(&pools), ["worker-0", "worker-1", "worker-2"]);
    pools.look(s(11));
    pools.look(s(12));
    pools.look(s(100));
    assert_eq!(names(&pools), ["worker-0", "worker-1"]);
    wait_left(&pools);
    end(&pools);
    pools.look(s(200));
    assert!(names(&pools).is_empty(), "nobody comes after the end");
}

#[test]
fn a_worker_that_the_quota_refuses_is_told_of_once_in_ten_seconds_with_how_often() {
    let pools = pools(&config("max_workers: 1"));
    pools.means.threads.set_most(1);
    pools.set_bounds(&config("min_workers: 2, max_workers: 2").decided);
    let t0 = Instant::now();
    let said = crate::logs::heard(|| {
        for half in 0..=39 {
            pools.look(t0 + PAUSE * half);
        }
    });
    let expected = |more| {
        format!(
            "pool general: no further worker though there were fewer than 2: `quotas.max_threads` leaves none for \
             worker-1: 1 run already ({more} more refused since this was last said)"
        )
    };
    assert_eq!(said, [expected(0), expected(19)]);
    pools.means.threads.set_most(2);
    pools.look(t0 + PAUSE * 40);
    assert_eq!(names(&pools), ["worker-0", "worker-1"]);
    end(&pools);
}
