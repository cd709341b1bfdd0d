//! That there are workers for every pipeline, and that their numbers fit each other.

use super::Checker;
use crate::config::decide::{GENERAL, Host, PoolPlan, decide};
use crate::config::keys::GeneralConfig;
use crate::config::read::Written;
use crate::config::report::did_you_mean;
use crate::config::topology::Machine;

/// The most pools beside the general one: each has a ring, and memory of its own.
pub const POOLS_MAX: usize = 16;

const PLACE: [&str; 3] = ["dispatcher", "worker_pool", "pools"];

impl Checker<'_> {
    pub(super) fn pools(&mut self, written: &Written) {
        let Some(general) = &written.general else { return };
        self.numbers(general);
        self.named(general);
        // Names and capabilities do not depend on the host.
        let host = Host { cores: Vec::new(), machine: Machine::default(), parallelism: 1, memory: None };
        let pools = decide(&host, &general.dispatcher, &general.quotas, &general.affinity).pools;
        for (name, keys, _) in &written.pipelines {
            let path = ["pipelines", name];
            if keys.pool.is_some() && !keys.needs.is_empty() {
                let message = format!("pipeline `{name}` has a `pool` and `needs`");
                self.problem(&[path[0], path[1], "needs"], message, "expected one of them");
            } else if keys.pool_among(&pools).is_none() {
                match &keys.pool {
                    Some(pool) => self.unknown_pool(name, pool, &pools),
                    None => self.unknown_need(name, &keys.needs, &pools),
                }
            }
        }
    }

    fn unknown_pool(&mut self, pipeline: &str, pool: &str, pools: &[PoolPlan]) {
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let hint = did_you_mean(pool, names.iter().copied());
        let label = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
        let message = format!("there is no pool `{pool}` of workers for pipeline `{pipeline}`");
        let known = format!("known pools: {}", names.join(", "));
        self.problem(&["pipelines", pipeline, "pool"], message, label).notes.push(known);
    }

    fn unknown_need(&mut self, pipeline: &str, needs: &[String], pools: &[PoolPlan]) {
        let known = || pools.iter().flat_map(|pool| pool.capabilities.iter().map(String::as_str));
        let missing = needs.iter().enumerate().find(|(_, need)| !known().any(|one| one == *need));
        let can = |pool: &PoolPlan| match pool.capabilities.is_empty() {
            true => format!("{} (nothing)", pool.name),
            false => format!("{} ({})", pool.name, pool.capabilities.join(", ")),
        };
        let note =
            format!("pools and what they can: {}", pools.iter().map(can).collect::<Vec<_>>().join(", "));
        let (path, message, label) = match missing {
            Some((at, need)) => {
                let hint = did_you_mean(need, known()).map(|hint| format!("did you mean `{hint}`?"));
                let message = format!("no pool of workers can `{need}`, which pipeline `{pipeline}` needs");
                (at.to_string(), message, hint.unwrap_or_default())
            }
            None => {
                let all = needs.join("`, `");
                let message =
                    format!("no pool of workers can all of `{all}`, which pipeline `{pipeline}` needs");
                ("0".into(), message, "each is in another pool".into())
            }
        };
        self.problem(&["pipelines", pipeline, "needs", &path], message, label).notes.push(note);
    }

    /// That the workers of the general pool are between their bounds.
    fn numbers(&mut self, general: &GeneralConfig) {
        let (pool, count) = (&general.dispatcher.worker_pool, general.dispatcher.worker_count.set());
        let (min, max) = (pool.min_workers.set(), pool.max_workers.set());
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            let message =
                format!("`min_workers` in `dispatcher.worker_pool` is {min} and `max_workers` {max}");
            self.problem(
                &["dispatcher", "worker_pool", "min_workers"],
                message,
                "expected no more than that",
            );
            return;
        }
        let Some(count) = count else { return };
        let (is, place) =
            (format!("`worker_count` in `dispatcher` is {count}"), ["dispatcher", "worker_count"]);
        if let Some(min) = min.filter(|min| *min > count) {
            self.problem(
                &place,
                format!("{is}, fewer than `min_workers`"),
                format!("expected {min} or more"),
            );
        }
        if let Some(max) = max.filter(|max| *max < count) {
            self.problem(
                &place,
                format!("{is}, more than `max_workers`"),
                format!("expected {max} or fewer"),
            );
        }
    }

    /// That the pools can be called what they are called, and have workers.
    fn named(&mut self, general: &GeneralConfig) {
        let pools = &general.dispatcher.worker_pool.pools.0;
        if let Some((name, _)) = pools.get(POOLS_MAX) {
            let message = format!("{} pools of workers; the most is {POOLS_MAX}", pools.len());
            let label = format!("this is number {}", POOLS_MAX + 1);
            self.problem(&[&PLACE[..], &[name]].concat(), message, label);
        }
        for (name, pool) in pools {
            let path = [&PLACE[..], &[name]].concat();
            if !super::is_name(name) {
                let message = format!("`{name}` cannot be the name of a pool");
                self.problem(&path, message, super::NAME_EXPECTED);
            }
            if name == GENERAL {
                let message = format!("`{name}` cannot be the name of one of the pools");
                let label = "that is the one of `worker_count`, `min_workers` and `max_workers`";
                self.problem(&path, message, label);
            }
            let (min, max) = (pool.workers.min, pool.workers.max);
            if min > max {
                let message = format!("`min` of the workers of pool `{name}` is {min} and `max` {max}");
                let path = [&path[..], &["workers", "min"]].concat();
                self.problem(&path, message, "expected no more than that");
            }
            for (at, word) in pool.capabilities.iter().enumerate().filter(|(_, word)| !super::is_name(word)) {
                let message = format!("pool `{name}` cannot be able to `{word}`");
                let at = at.to_string();
                self.problem(&[&path[..], &["capabilities", &at]].concat(), message, super::NAME_EXPECTED);
            }
        }
    }
}
