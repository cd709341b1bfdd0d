//! Steps that read structure out of text.

pub mod config;
pub mod input;
pub mod json;
pub mod logfmt;
pub mod nginx;
pub mod nginx_error;
pub mod regex;
pub mod rows;
pub mod syslog;
