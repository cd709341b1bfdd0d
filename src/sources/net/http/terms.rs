//! What requests come under: what the config of their source said when they came.

use super::HttpSettings;
use super::service::Service;
use crate::sources::inlet::Strategy;
use std::sync::Arc;

/// What a source of requests goes by, shared by its threads and never changed: another config makes others.
pub struct Terms {
    /// What its config says.
    pub settings: HttpSettings,
    /// What it makes of requests.
    pub service: Arc<dyn Service>,
    /// What it does when it cannot go on.
    pub strategy: Strategy,
}
