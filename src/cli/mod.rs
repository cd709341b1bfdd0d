//! The command line: answers on stdout, everything else on stderr, one exit code per meaning.

mod ask;
pub mod buffer;
pub mod dlq;
pub mod explain;
pub mod generate;
pub mod health;
pub mod pages;
pub mod positions;
pub mod reload;
pub mod schema;
pub mod send;
pub mod stats;
pub mod tap;
pub mod test;
pub mod threads;
pub mod top;
pub mod topology;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Report, describe};

pub use crate::engine::run::exit;

const EXIT_CODES: &str = "\
Exit codes:
  0    clean: everything that was taken in was delivered
  1    ended with undelivered entries
  2    wrong config or usage
  3    could not start or connect (port, directory, lock)
  130  ended at once by a second signal";

/// A log dispatcher: takes logs in from files and the network and hands them to every sink, in order, without losing
/// one.
#[derive(Debug, Parser)]
#[command(name = "ringmain", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs until SIGTERM or SIGINT; also what happens without a command
    #[command(after_help = EXIT_CODES)]
    Run(ConfigArgs),
    /// Prints the plan it understood: every value with its origin, threads and cores, and who can stop whom
    #[command(after_help = EXIT_CODES)]
    Check(ConfigArgs),
    /// Runs the cases in the config's `tests` and shows what came out otherwise: exit code 0, or 1 if anything did
    #[command(after_help = EXIT_CODES)]
    Test(test::TestArgs),
    /// Shows what each step makes of lines on standard input, which sinks take them, and how long it took
    #[command(after_help = EXIT_CODES)]
    Explain(explain::ExplainArgs),
    /// Sends messages to a running syslog source, as RFC 5424
    #[command(after_help = EXIT_CODES)]
    Send(send::SendArgs),
    /// Has a running ringmain read its config again: checked first, all of it or nothing
    #[command(after_help = EXIT_CODES)]
    Reload(reload::ReloadArgs),
    /// Shows live entries of a running ringmain: at a source, behind a step, or in front of a sink
    #[command(after_help = EXIT_CODES)]
    Tap(tap::TapArgs),
    /// Prints what a running ringmain says of itself
    #[command(after_help = EXIT_CODES)]
    Stats(stats::StatsArgs),
    /// Shows a running ringmain at a glance, every second: what comes in and goes out, who is busy, what waits
    #[command(after_help = EXIT_CODES)]
    Top(top::TopArgs),
    /// Prints what each thread of a running ringmain does, since when and where, and how much CPU it takes
    #[command(after_help = EXIT_CODES)]
    Threads(threads::ThreadsArgs),
    /// Prints the machine (sockets, nodes, cores, caches), where threads would run, and what is not as it should be
    #[command(after_help = EXIT_CODES)]
    Topology(topology::TopologyArgs),
    /// Asks a running ringmain whether it is well: exit code 0, or 1 with the reason
    Health(health::HealthArgs),
    /// Looks at the dead letters, gives them again, or removes them
    #[command(after_help = EXIT_CODES)]
    Dlq(dlq::DlqArgs),
    /// Looks at the buffers on disk of a stopped ringmain, checks them, reads them out, repairs them
    #[command(after_help = EXIT_CODES)]
    Buffer(buffer::BufferArgs),
    /// Shows or resets how far files were read, in the data directory of one that does not run
    #[command(subcommand, after_help = EXIT_CODES)]
    Positions(positions::PositionsCommand),
    /// Makes numbered lines of several kinds, to try a config or to load one
    Gen(generate::GenArgs),
    /// Prints the JSON schema of the config, for editors and checks
    Schema,
    /// Prints the completions of a shell
    Completions(pages::CompletionsArgs),
    /// Prints the manual page
    Man(pages::ManArgs),
}

/// Which config.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config file; without it, the built-in config.example.yaml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => match load(&args) {
            Ok(config) => crate::engine::run(config, args.config.as_deref()),
            Err(report) => refuse(&report),
        },
        Command::Check(args) => match load(&args) {
            Ok(config) => match crate::engine::fits(&config).and_then(|()| crate::engine::tables(&config)) {
                Ok(()) => print(&describe::plan(&config)),
                Err(error) => fail(exit::USAGE, &error.to_string()),
            },
            Err(report) => refuse(&report),
        },
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Threads(args) => threads::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Dlq(args) => dlq::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Buffer(args) => buffer::run(&args),
        Command::Positions(command) => positions::run(&command),
        Command::Gen(args) => generate::run(&args),
        Command::Schema => schema::run(),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    }
}

fn load(args: &ConfigArgs) -> Result<Config, Report> {
    match &args.config {
        Some(path) => Config::load(path),
        None => Config::example(),
    }
}

fn refuse(report: &Report) -> ExitCode {
    let stderr = std::io::stderr();
    let colour = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Nothing can be said to somebody who closed stderr.
    let _ = stderr.lock().write_all(report.render(colour).as_bytes());
    ExitCode::from(exit::USAGE)
}

/// Prints an answer. A reader that has seen enough (`| head`) is no failure.
fn print(answer: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(answer.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(exit::NOT_STARTED, &format!("cannot write to stdout: {error}"))
        }
        _ => ExitCode::from(exit::CLEAN),
    }
}

/// Says why it ends, in one line.
fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "error: {message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_without_a_command() {
        let file = |args: &ConfigArgs| args.config.clone().map(|path| path.display().to_string());
        let cli = parsed("ringmain -c a.yaml").unwrap();
        assert!(cli.command.is_none() && file(&cli.run).as_deref() == Some("a.yaml"));
        let Some(Command::Run(args)) = parsed("ringmain run --config b.yaml").unwrap().command else {
            panic!()
        };
        assert_eq!(file(&args).as_deref(), Some("b.yaml"));
        assert!(parsed("ringmain").unwrap().command.is_none());
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in ["ringmain -x", "ringmain check a.yaml", "ringmain send", "ringmain -c a.yaml check"] {
            assert!(parsed(line).is_err(), "{line}");
        }
        for line in
            ["ringmain send --to http://x y", "ringmain send --count 0 y", "ringmain stats --admin nowhere"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for code in [exit::CLEAN, exit::UNDELIVERED, exit::USAGE, exit::NOT_STARTED, exit::SECOND_SIGNAL] {
            assert!(help.contains(&format!("\n  {code:<5}")), "{code}");
        }
    }
}
