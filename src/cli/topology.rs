//! `ringmain topology`: the machine as it is seen, where threads would run, and what is not as it should be.

use super::{exit, fail, print, refuse};
use crate::config::threads::{Planned, planned};
use crate::config::topology::{Core, Machine};
use crate::config::{Config, EXAMPLE, EXAMPLE_NAME, Host, PoolPlan, Report, TextChecks};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to look at.
#[derive(Debug, Args)]
pub struct TopologyArgs {
    /// The config file; without it, the built-in config.example.yaml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another machine's /sys, or a copy of it
    #[arg(long, value_name = "PATH")]
    sys: Option<PathBuf>,
    /// Prints it as JSON
    #[arg(long)]
    json: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    sockets: usize,
    nodes: usize,
    physical_cores: usize,
    cores: Vec<Core>,
    offline: Vec<usize>,
    /// How many cores' worth of time there is.
    parallelism: usize,
    plan: Vec<Place>,
    warnings: Vec<String>,
}

/// Where the threads of one name run.
#[derive(Debug, Serialize)]
struct Place {
    thread: String,
    /// Empty: any.
    cores: Vec<usize>,
    why: String,
}

/// Looks and prints.
pub fn run(args: &TopologyArgs) -> ExitCode {
    let host = match &args.sys {
        None => Host::here(),
        Some(sys) => {
            let machine = Machine::read(sys, None);
            if machine.cores.is_empty() {
                let why = format!("{}: no core is online below it: expected a tree like /sys", sys.display());
                return fail(exit::USAGE, &why);
            }
            let cores: Vec<usize> = machine.cores.iter().map(|core| core.id).collect();
            Host { parallelism: cores.len(), cores, machine, ..Host::here() }
        }
    };
    match load(args, &host) {
        Ok(config) => {
            let answer = answer(&host, &config);
            match args.json {
                true => match serde_json::to_string_pretty(&answer) {
                    Ok(json) => print(&format!("{json}\n")),
                    Err(error) => fail(exit::NOT_STARTED, &error.to_string()),
                },
                false => print(&text(&answer)),
            }
        }
        Err(report) => refuse(&report),
    }
}

fn load(args: &TopologyArgs, host: &Host) -> Result<Config, Report> {
    let env = |name: &str| std::env::var(name).ok();
    match &args.config {
        None => Config::parse_for(EXAMPLE_NAME, EXAMPLE, &env, host, &TextChecks::default()),
        Some(path) => Config::load_for(path, host),
    }
}

fn answer(host: &Host, config: &Config) -> Answer {
    let machine = &host.machine;
    let count = |of: fn(&Core) -> usize| {
        let all: std::collections::BTreeSet<usize> = machine.cores.iter().map(of).collect();
        all.len()
    };
    let decided = &config.decided.cores;
    let mut kinds: Vec<(&str, &[usize])> =
        vec![("intake", &decided.intake), ("readers", &decided.readers), ("senders", &decided.senders)];
    let pools = &config.decided.pools;
    let name = |(at, pool): (usize, &PoolPlan)| match at {
        0 => "workers".to_owned(),
        _ => format!("workers of {}", pool.name),
    };
    let names: Vec<String> = pools.iter().enumerate().map(name).collect();
    for (pool, name) in pools.iter().zip(&names) {
        // One core for each worker there may be: what is more is not used.
        kinds.push((name, &pool.cores[..pool.cores.len().min(pool.max)]));
    }
    let mut warnings = machine.warnings(&kinds);
    let bound = kinds.iter().any(|(_, cores)| !cores.is_empty());
    if host.parallelism < machine.cores.len() {
        let (few, many) = (host.parallelism, machine.cores.len());
        let said =
            if bound { "the kernel stops bound threads when it is spent" } else { "so nothing is bound" };
        warnings.push(format!("a quota leaves the time of {few} of {many} cores: {said}"));
    }
    Answer {
        sockets: count(|core| core.socket),
        nodes: count(|core| core.node),
        physical_cores: machine.physical(),
        plan: planned(config).iter().flat_map(|one| places(one, machine)).collect(),
        cores: machine.cores.clone(),
        offline: machine.offline.clone(),
        parallelism: host.parallelism,
        warnings,
    }
}

fn places(planned: &Planned, machine: &Machine) -> Vec<Place> {
    let Planned { name, count, cores, one_each, .. } = planned;
    let near = |core: &usize| match machine.core(*core) {
        Some(core) => format!("node {}, cache of {}, physical core {}", core.node, core.cache, core.physical),
        None => "not online".into(),
    };
    if cores.is_empty() {
        let why = "not bound: the scheduler chooses".into();
        return vec![Place { thread: name.clone(), cores: Vec::new(), why }];
    }
    if !one_each {
        let why = cores.iter().map(near).collect::<Vec<_>>().join("; ");
        return vec![Place { thread: name.clone(), cores: cores.clone(), why }];
    }
    let one = |number: usize| {
        let core = cores[number % cores.len()];
        // Only the last letter stands for it: a pool may have the letter in its name.
        let name = name.strip_suffix('N').map_or_else(|| name.clone(), |name| format!("{name}{number}"));
        Place { thread: name, cores: vec![core], why: near(&core) }
    };
    (0..*count).map(one).collect()
}

fn text(answer: &Answer) -> String {
    let Answer { sockets, nodes, physical_cores, cores, offline, parallelism, plan, warnings } = answer;
    let mut out = format!(
        "machine: {sockets} sockets, {nodes} nodes, {physical_cores} physical cores, {} to run on, time of {parallelism}\n",
        cores.len()
    );
    let mut groups: BTreeMap<(usize, usize, usize), BTreeMap<usize, Vec<String>>> = BTreeMap::new();
    for core in cores {
        let group = groups.entry((core.socket, core.node, core.cache)).or_default();
        let mark = if core.isolated { "!" } else { "" };
        group.entry(core.physical).or_default().push(format!("{}{mark}", core.id));
    }
    for ((socket, node, cache), physical) in groups {
        let cores: Vec<String> = physical.into_values().map(|threads| threads.join("+")).collect();
        let _ = writeln!(out, "  socket {socket}, node {node}, cache of {cache}: {}", cores.join(" "));
    }
    if !offline.is_empty() {
        let _ = writeln!(out, "  offline: {offline:?}");
    }
    out.push_str("\nplan\n");
    for Place { thread, cores, why } in plan {
        let cores = if cores.is_empty() { "any".into() } else { format!("{cores:?}") };
        let _ = writeln!(out, "  {thread:<28} {cores:<12} {why}");
    }
    out.push_str(if warnings.is_empty() { "\nno warnings\n" } else { "\nwarnings\n" });
    warnings.iter().for_each(|warning| out.push_str(&format!("  {warning}\n")));
    out
}
