//! `ringmain health`: whether a running one is well, for health checks that have no HTTP client.

use super::{exit, fail, print};
use clap::Args;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Whom to ask.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the admin server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8401")]
    admin: SocketAddr,
    /// Asks whether it takes entries in, not whether all its parts are well
    #[arg(long)]
    ready: bool,
}

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Asks, and prints what was answered. Well is exit code 0, unwell 1, no answer 3.
pub fn run(args: &HealthArgs) -> ExitCode {
    let url = format!("http://{}/{}", args.admin, if args.ready { "ready" } else { "health" });
    // No proxy: see `stats`.
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build();
    let answer = ureq::Agent::new_with_config(config).get(&url).call();
    let read = answer.and_then(|mut answer| {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok((answer.status().is_success(), body))
    });
    match read {
        Ok((true, body)) => print(&format!("{}\n", body.trim_end())),
        Ok((false, body)) => fail(exit::UNDELIVERED, &format!("unwell: {}", body.trim_end())),
        Err(error) => fail(exit::NOT_STARTED, &format!("{url}: {error}")),
    }
}
