//! `ringmain threads`: every thread of a running one, what it does, since when, and where.

use super::ask::{self, AdminArgs, Asked};
use super::{exit, fail, print};
use clap::Args;
use std::process::ExitCode;

/// Whom to ask and how to print.
#[derive(Debug, Args)]
pub struct ThreadsArgs {
    /// Prints it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks and prints.
pub fn run(args: &ThreadsArgs) -> ExitCode {
    let path = if args.json { "/threads?format=json" } else { "/threads" };
    match ask::get(&args.admin, path) {
        Asked::Answered(answer) => print(&format!("{}\n", answer.trim_end())),
        Asked::Refused(why) | Asked::Failed(why) => fail(exit::NOT_STARTED, &why),
    }
}
