//! `ringmain reload`: has a running one read its config again.

use std::process::ExitCode;

use clap::Args;

use super::ask::{self, AdminArgs, Asked};
use super::{exit, fail, print};

/// Whom to ask for what.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Only says what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks, and prints what changed or why nothing did.
pub fn run(args: &ReloadArgs) -> ExitCode {
    let path = if args.dry_run { "/reload/dry-run" } else { "/reload" };
    match ask::post(&args.admin, path) {
        Asked::Answered(changes) => print(&changes),
        Asked::Refused(why) => fail(exit::USAGE, &why),
        Asked::Failed(why) => fail(exit::NOT_STARTED, &why),
    }
}
