//! `POST /reload`: the config read again because somebody asked over HTTP.

use super::changes::Changes;
use super::live::Core;
use super::reload::ReloadError;
use crate::config::Config;
use crate::http::{Response, Status};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Reads the config again and puts it into force, or only says what that would change.
type Reload = Box<dyn Fn(bool) -> Result<Changes, ReloadError> + Send + Sync>;

/// What can be asked for from outside, once it is known which file the config came from.
#[derive(Default)]
pub(super) struct Remote(OnceLock<Reload>);

impl Remote {
    /// From now on the config at `path` can be put into force from outside.
    pub fn allow(&self, core: &Arc<Core>, path: &Path) {
        let (core, path) = (Arc::downgrade(core), path.to_owned());
        let reload: Reload = Box::new(move |dry_run| {
            let core = core.upgrade().ok_or(ReloadError::Stopping)?;
            let config = Config::load(&path).map_err(|report| ReloadError::Config(Box::new(report)))?;
            if dry_run { Ok(core.changes(&config)) } else { core.apply(config) }
        });
        // The file is the same for as long as the process lives.
        let _ = self.0.set(reload);
    }

    /// Does what was posted to `path`, if there is something of that name.
    pub fn post(&self, path: &str) -> Option<Response> {
        let dry_run = match path {
            "/reload" => false,
            "/reload/dry-run" => true,
            _ => return None,
        };
        let Some(reload) = self.0.get() else {
            return Some(Response::text(
                Status::CONFLICT,
                "It runs without a config file: there is none to read.\n",
            ));
        };
        Some(match reload(dry_run) {
            Ok(changes) => {
                let said = if changes.is_empty() { "nothing changes\n".into() } else { changes.to_string() };
                if !dry_run {
                    said.lines().for_each(|line| tracing::info!("reload, asked for over HTTP: {line}"));
                }
                Response::text(Status::OK, said)
            }
            Err(error) => {
                let status = match &error {
                    ReloadError::Config(_) => Status::BAD_REQUEST,
                    ReloadError::TakesARestart(_) | ReloadError::Start(_) => Status::CONFLICT,
                    ReloadError::Stopping => Status::UNAVAILABLE,
                };
                tracing::error!("reload, asked for over HTTP, refused, all is as before: {error}");
                Response::text(status, format!("refused, all is as before: {error}\n"))
            }
        })
    }
}
