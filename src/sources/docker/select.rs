//! Which containers are read, and which of their labels entries carry.

use super::config::{DockerSourceConfig, Selection};
use super::list::Listed;
use crate::labels::Labels;
use crate::sources::containers::Std;
use globset::{Glob, GlobSet, GlobSetBuilder};

/// Longest value of a label, in bytes; what is longer is cut.
pub const VALUE_MAX: usize = 1024;
/// Most labels that a container's own labels become.
pub const OWN_MAX: usize = 32;

/// The globs of one selection.
struct Globs {
    names: GlobSet,
    images: GlobSet,
    labels: GlobSet,
}

impl Globs {
    fn new(selection: &Selection) -> Result<Globs, String> {
        let Selection { names, images, labels } = selection;
        Ok(Globs { names: set(names)?, images: set(images)?, labels: set(labels)? })
    }

    /// Of each kind: whether it matches, if there are globs of that kind.
    fn judge(&self, container: &Listed) -> [Option<bool>; 3] {
        let label = |(name, value): &(String, String)| {
            self.labels.is_match(name) || self.labels.is_match(format!("{name}={value}"))
        };
        [
            (!self.names.is_empty()).then(|| self.names.is_match(&container.name)),
            (!self.images.is_empty()).then(|| self.images.is_match(&container.image)),
            (!self.labels.is_empty()).then(|| container.labels.iter().any(label)),
        ]
    }
}

/// Picks containers and labels.
pub struct Picker {
    include: Globs,
    exclude: Globs,
    own_labels: GlobSet,
}

impl Picker {
    /// As the config says. Errors: a glob cannot be understood.
    pub fn new(config: &DockerSourceConfig) -> Result<Picker, String> {
        Ok(Picker {
            include: Globs::new(&config.include)?,
            exclude: Globs::new(&config.exclude)?,
            own_labels: set(&config.container_labels)?,
        })
    }

    /// Whether the container is to be read.
    pub fn wants(&self, container: &Listed) -> bool {
        let included = self.include.judge(container).into_iter().flatten().all(|matches| matches);
        let excluded = self.exclude.judge(container).into_iter().flatten().any(|matches| matches);
        included && !excluded
    }

    /// The labels of what the container says to `std`; those of the `source` win.
    pub fn labels(&self, container: &Listed, std: Std, source: &Labels) -> Labels {
        let own = container.labels.iter().filter(|(name, _)| self.own_labels.is_match(name));
        let own = own.take(OWN_MAX).map(|(name, value)| (plain(name), bounded(value).to_owned()));
        let facts = [
            ("container_id", &*container.id),
            ("container_name", &container.name),
            ("image", &container.image),
            ("stream", std.name()),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), bounded(value).to_owned()));
        let source = source.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Labels::new(own.chain(facts).chain(source))
    }
}

/// The name with `_` for what a label of a metric may not have.
fn plain(name: &str) -> String {
    let end = name.char_indices().nth(128).map_or(name.len(), |(at, _)| at);
    name[..end].chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The beginning of `text`, as much as a label may have.
pub fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_MAX)]
}

fn set(globs: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(|error| error.to_string())?);
    }
    set.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Listed {
        Listed {
            id: "0123".into(),
            name: "web-1".into(),
            image: "reg.example/shop/nginx:1.27".into(),
            labels: vec![("com.docker.compose.service".into(), "web".into()), ("log".into(), "yes".into())],
            running: true,
        }
    }

    fn wants(include: Selection, exclude: Selection) -> bool {
        let config = DockerSourceConfig { include, exclude, ..DockerSourceConfig::default() };
        Picker::new(&config).unwrap().wants(&container())
    }

    fn some(names: &[&str], images: &[&str], labels: &[&str]) -> Selection {
        let list = |globs: &[&str]| globs.iter().map(ToString::to_string).collect();
        Selection { names: list(names), images: list(images), labels: list(labels) }
    }

    #[test]
    fn of_each_kind_that_is_given_one_must_match_and_no_exclusion_may() {
        let all = || Selection::default();
        assert!(wants(all(), all()));
        assert!(wants(some(&["db*", "web-*"], &["*/nginx:*"], &["log=y*"]), all()));
        assert!(wants(some(&[], &[], &["com.docker.compose.service"]), all()));
        assert!(!wants(some(&["db*"], &["*/nginx:*"], &[]), all()));
        assert!(!wants(some(&["web-*"], &[], &["log=no"]), all()));
        for exclude in [some(&["web*"], &[], &[]), some(&[], &["*nginx*"], &[]), some(&["db"], &[], &["log"])]
        {
            assert!(!wants(some(&["web-*"], &[], &[]), exclude));
        }
        assert!(wants(all(), some(&["web"], &["nginx"], &["log=no"])));
    }

    #[test]
    fn labels_are_bounded_and_the_source_has_the_last_word() {
        let config =
            DockerSourceConfig { container_labels: vec!["com.*".into(), "x*".into()], ..Default::default() };
        let picker = Picker::new(&config).unwrap();
        let mut listed = container();
        listed.name = "\\u{e9}".repeat(64 << 10);
        listed.labels.push(("image".into(), "of its own".into()));
        listed.labels.extend((0..100).map(|n| (format!("x{n}"), "y".repeat(64 << 10))));
        let labels = picker.labels(&listed, Std::Err, &Labels::new([("stream", "mine")]));
        assert_eq!(labels.get("com_docker_compose_service"), Some("web"));
        assert_eq!((labels.get("image"), labels.get("log")), (Some("reg.example/shop/nginx:1.27"), None));
        assert_eq!(labels.get("stream"), Some("mine"));
        assert_eq!(labels.len(), 4 + OWN_MAX);
        assert!(labels.iter().all(|(_, value)| value.len() <= VALUE_MAX));
        assert!(labels.get("container_name").is_some_and(|name| name.len() > VALUE_MAX - 8));
    }
}
