//! `ringmain schema`: the JSON schema of the config.

use super::print;
use std::process::ExitCode;

/// Prints it.
pub fn run() -> ExitCode {
    print(&format!("{:#}\n", crate::config::schema::schema()))
}
