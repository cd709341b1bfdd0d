//! Whether a file source might read what a file sink writes: told from the fixed beginnings of both.

use crate::config::Config;
use crate::sinks::config::SinkKind;

/// Where the enabled file sinks write.
pub(super) fn written(config: &Config) -> Vec<String> {
    let path = |sink: &crate::config::SinkConfig| match &sink.kind {
        SinkKind::File(file) => Some(file.path.clone()),
        _ => None,
    };
    config.enabled_sinks().filter_map(path).collect()
}

/// Whether something that matches `glob` may be a name that `template` comes to. Says yes when in doubt.
pub(super) fn may_meet(glob: &str, template: &str) -> bool {
    let (glob, template) = (absolute(fixed(glob)), absolute(fixed(template)));
    glob.starts_with(&template) || template.starts_with(&glob)
}

/// The part before the first letter that stands for something else.
fn fixed(text: &str) -> &str {
    text.split(['*', '?', '[', '{']).next().unwrap_or_default()
}

fn absolute(path: &str) -> String {
    let path = std::path::absolute(path).map(|path| path.display().to_string());
    // A link may lead anywhere; what is compared is how both are written.
    path.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_with_a_common_beginning_may_meet() {
        assert!(!may_meet("logs/*.log", "out/{source}.log"));
        assert!(may_meet("logs/*.log", "logs/out/{source}.log"));
        assert!(may_meet("./logs/**", "logs/a.log"));
        assert!(may_meet("**/*.log", "out/a.log"));
        assert!(!may_meet("/var/log/a-*.log", "/var/log/b-{date}.log"));
    }
}
