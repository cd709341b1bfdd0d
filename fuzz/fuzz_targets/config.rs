//! Any text as a config file: it is accepted or refused in words, the same way each time, and never with a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::config::topology::Machine;
use ringmain::config::{Config, Host, TextChecks, describe};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Some variables are set, to what a config might have there; no name of them is longer than the text.
    let env = |name: &str| match name.len() % 4 {
        0 => None,
        1 => Some(String::new()),
        2 => Some("/var/log/*.log".to_string()),
        _ => Some(name.to_string()),
    };
    let cores = vec![0, 1];
    let host = Host { machine: Machine::flat(&cores), cores, parallelism: 2, memory: Some(1 << 30) };
    let read = || Config::parse_for("fuzz.yaml", text, &env, &host, &TextChecks::default());
    match read() {
        Ok(config) => {
            let plan = describe::plan(&config);
            assert!(plan.starts_with("fuzz.yaml: "));
            assert_eq!(read().map(|again| describe::plan(&again)).ok(), Some(plan));
        }
        Err(report) => {
            let said = report.render(false);
            assert!(said.starts_with("error: "), "{said:?}");
            // The line it quotes does not speak to the terminal.
            assert!(!said.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{said:?}");
            assert!(report.render(true).len() >= said.len());
        }
    }
});
