//! `ringmain dlq replay`: has a running one give letters again, and shows how it goes.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::FilterArgs;
use crate::cli::ask::{self, AdminArgs, Asked};
use crate::cli::{exit, fail, print};

/// How often it asks how it goes.
const LOOK: Duration = Duration::from_millis(200);

/// Whom to ask for what.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Changes each entry: message=TEXT, labels.NAME=TEXT, or NAME=VALUE for a field; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Sends them, as they were received, through this pipeline, instead of straight to the sink that refused them
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// How many may be under way; if the process is killed meanwhile, as many may be delivered twice
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    at_once: usize,
    /// Does not wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// Prints what it came to as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks, and waits until it is done. Exit code 0: all of them were delivered.
pub(super) fn run(args: &ReplayArgs) -> Result<ExitCode, ExitCode> {
    let wish = json!({
        "filter": args.filter.filter()?,
        "set": args.set,
        "pipeline": args.pipeline,
        "at_once": args.at_once,
    });
    let answer = answered(ask::post_body(&args.admin, "/dlq/replay", &wish.to_string()))?;
    let id = answer["replay"].as_u64().unwrap_or(0);
    if args.no_wait {
        return Ok(print(&match args.json {
            true => format!("{answer}\n"),
            false => format!("replay {id} is under way; /dlq says how it goes\n"),
        }));
    }
    let shows = io::stderr().is_terminal();
    loop {
        let letters = answered(ask::get(&args.admin, "/dlq"))?;
        let replay = &letters["replay"];
        if replay["id"] != id {
            return Err(fail(
                exit::NOT_STARTED,
                &format!("replay {id} is not known any more: was it restarted?"),
            ));
        }
        let done = replay["done"] == true;
        if shows {
            let end = if done { "\n" } else { "" };
            // Nothing can be said to somebody who closed stderr.
            let _ = write!(io::stderr().lock(), "\r{}{end}", words(replay));
        }
        if done {
            return end(args, replay);
        }
        std::thread::sleep(LOOK);
    }
}

fn end(args: &ReplayArgs, replay: &Value) -> Result<ExitCode, ExitCode> {
    let printed = print(&match args.json {
        true => format!("{replay}\n"),
        false => format!("{}\n", words(replay)),
    });
    let count = |name: &str| replay[name].as_u64().unwrap_or(0);
    if count("refused") + count("kept") == 0 {
        return Ok(printed);
    }
    let why = replay["why"].as_str().map_or(String::new(), |why| format!(": {why}"));
    Err(fail(exit::UNDELIVERED, &format!("not all of them were delivered{why}")))
}

fn words(replay: &Value) -> String {
    let count = |name: &str| replay[name].as_u64().unwrap_or(0);
    format!(
        "{} of {} given again: {} delivered, {} refused again, {} kept",
        count("given"),
        count("letters"),
        count("delivered"),
        count("refused"),
        count("kept")
    )
}

fn answered(asked: Asked) -> Result<Value, ExitCode> {
    match asked {
        Asked::Answered(answer) => serde_json::from_str(&answer)
            .map_err(|error| fail(exit::NOT_STARTED, &format!("the answer is not JSON: {error}"))),
        Asked::Refused(why) => Err(fail(exit::USAGE, &why)),
        Asked::Failed(why) => Err(fail(exit::NOT_STARTED, &why)),
    }
}
