//! `ringmain completions` and `ringmain man`: both made from the command line itself.

use super::{Cli, exit, fail, print};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete commands and options
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Which pages.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Writes ringmain.1 and a page for each command to this directory, instead of the first to standard output
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// Prints the script for a shell.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringmain", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints or writes the manual.
pub fn man(args: &ManArgs) -> ExitCode {
    let made = match &args.dir {
        None => page(&Cli::command()),
        Some(dir) => write_all(dir),
    };
    match made {
        Ok(page) => print(&page),
        Err(error) => fail(exit::NOT_STARTED, &format!("cannot write the manual: {error}")),
    }
}

fn page(command: &clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_all(dir: &Path) -> io::Result<String> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    Ok(format!("written to {}\n", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_command_is_completed_in_every_shell_and_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        write_all(dir.path()).unwrap();
        let main = std::fs::read_to_string(dir.path().join("ringmain.1")).unwrap();
        assert!(main.contains(".TH ringmain 1") && main.contains("Exit codes"), "{main}");
        let commands: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for command in &commands {
            let page = std::fs::read_to_string(dir.path().join(format!("ringmain-{command}.1"))).unwrap();
            assert!(main.contains(command.as_str()) && page.contains(".SH OPTIONS"), "{command}");
        }
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "ringmain", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(commands.iter().all(|command| script.contains(command.as_str())), "{shell}");
        }
    }
}
