//! That threads are bound to cores there are.

use super::Checker;
use crate::config::decide::Host;
use crate::config::keys::GeneralConfig;
use crate::units::Auto;

impl Checker<'_> {
    pub(super) fn cores(&mut self, general: &GeneralConfig, host: &Host) {
        let affinity = &general.affinity;
        let kinds = [
            ("intake", &affinity.intake),
            ("readers", &affinity.readers),
            ("workers", &affinity.workers),
            ("senders", &affinity.senders),
        ];
        for (kind, cores) in kinds {
            self.known_cores(&["affinity", kind], cores, host, &format!("`{kind}` in `affinity`"));
        }
        for (name, pool) in &general.dispatcher.worker_pool.pools.0 {
            let path = ["dispatcher", "worker_pool", "pools", name, "cores"];
            self.known_cores(&path, &pool.cores, host, &format!("pool `{name}`"));
        }
    }

    /// That there are the `cores` that stand at `path`, for `whom`.
    fn known_cores(&mut self, path: &[&str], cores: &Auto<Vec<usize>>, host: &Host, whom: &str) {
        let known: Vec<String> = host.cores.iter().map(usize::to_string).collect();
        for (index, core) in cores.set().into_iter().flatten().enumerate() {
            if !host.cores.contains(core) {
                let label = format!("cores this process may use: {}", known.join(", "));
                let index = index.to_string();
                let path: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
                self.problem(&path, format!("there is no core {core} for {whom}"), label);
            }
        }
    }
}
