//! What the path of a log file, and what lies beside it, tell of the container that wrote it.
//!
//! ```text
//! .../pods/NAMESPACE_POD_UID/CONTAINER/0.log                  Kubernetes
//! .../containers/POD_NAMESPACE_CONTAINER-ID.log               Kubernetes, a link to one of the above
//! .../containers/ID/ID-json.log      + config.v2.json         Docker
//! .../ID/userdata/ctr.log            + ../../containers.json  podman
//! ```

use super::discover;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;

/// Most bytes of what lies beside a log.
const BESIDE_MAX: u64 = 4 << 20;
/// Longest value of a label, in bytes.
const VALUE_MAX: usize = 1024;

/// Labels of what is in the file at `path`, by name.
pub(super) fn labels(path: &Path) -> Vec<(&'static str, String)> {
    let mut names = path.components().rev().filter_map(|part| part.as_os_str().to_str());
    let (Some(file), Some(dir), Some(above)) = (names.next(), names.next(), names.next()) else {
        return Vec::new();
    };
    let found = of_pod(names.next(), above, dir)
        .or_else(|| of_link(dir, file))
        .or_else(|| of_docker(path, dir, file))
        .or_else(|| of_podman(path, above, dir, file));
    let mut found = found.unwrap_or_default();
    found.retain(|(_, value)| !value.is_empty());
    found.iter_mut().for_each(|(_, value)| value.truncate(value.floor_char_boundary(VALUE_MAX)));
    found
}

type Found = Vec<(&'static str, String)>;

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The three parts of a name, which `_` stands between.
fn parts(name: &str) -> Option<[&str; 3]> {
    let (first, rest) = name.split_once('_')?;
    let (second, third) = rest.split_once('_')?;
    Some([first, second, third])
}

fn of_pod(root: Option<&str>, pod: &str, container: &str) -> Option<Found> {
    let [namespace, name, uid] = parts(pod).filter(|_| root == Some("pods"))?;
    let of = |text: &str| text.to_owned();
    Some(vec![
        ("namespace", of(namespace)),
        ("pod", of(name)),
        ("pod_uid", of(uid)),
        ("container_name", of(container)),
    ])
}

fn of_link(dir: &str, file: &str) -> Option<Found> {
    let (rest, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
    let [pod, namespace, container] = parts(rest)?;
    let of = |text: &str| text.to_owned();
    (dir == "containers" && is_id(id)).then(|| {
        vec![
            ("namespace", of(namespace)),
            ("pod", of(pod)),
            ("container_name", of(container)),
            ("container_id", of(id)),
        ]
    })
}

fn of_docker(path: &Path, dir: &str, file: &str) -> Option<Found> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Beside {
        name: String,
        config: Config,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        image: String,
    }
    if !is_id(dir) || file.strip_suffix("-json.log") != Some(dir) {
        return None;
    }
    let beside: Beside = beside(&path.with_file_name("config.v2.json")).unwrap_or_default();
    let name = beside.name.trim_start_matches('/').to_owned();
    Some(vec![("container_id", dir.to_owned()), ("container_name", name), ("image", beside.config.image)])
}

fn of_podman(path: &Path, id: &str, dir: &str, file: &str) -> Option<Found> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "kebab-case", default)]
    struct Metadata {
        image_name: String,
    }
    if !is_id(id) || dir != "userdata" || file != "ctr.log" {
        return None;
    }
    let all = path.ancestors().nth(3)?.join("containers.json");
    let rows: Vec<Row> = beside(&all).unwrap_or_default();
    let row = rows.into_iter().find(|row| row.id == id);
    let (name, image) = row.map_or_else(Default::default, |row| {
        let metadata: Metadata = serde_json::from_str(&row.metadata).unwrap_or_default();
        (row.names.into_iter().next().unwrap_or_default(), metadata.image_name)
    });
    Some(vec![("container_id", id.to_owned()), ("container_name", name), ("image", image)])
}

/// What a file that lies beside a log says, if it is there, and not too long, and can be read.
fn beside<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let (mut bytes, file) = (Vec::new(), discover::open(path).ok()?.file);
    file.take(BESIDE_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn told(path: &Path) -> Vec<String> {
        labels(path).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn paths_of_pods_tell_whose_they_are() {
        let id = "ab".repeat(32);
        assert_eq!(
            told(Path::new("/var/log/pods/shop_web-7d_1234-56/nginx/3.log")),
            ["namespace=shop", "pod=web-7d", "pod_uid=1234-56", "container_name=nginx"]
        );
        assert_eq!(
            told(Path::new(&format!("/var/log/containers/web-7d_shop_nginx-{id}.log"))),
            ["namespace=shop", "pod=web-7d", "container_name=nginx", &format!("container_id={id}")]
        );
        for other in
            ["/var/log/syslog", "/x.log", "/var/log/pods/a/b/0.log", "/var/log/containers/a_b_c-12.log"]
        {
            assert_eq!(told(Path::new(other)), [""; 0], "{other}");
        }
    }

    #[test]
    fn what_lies_beside_a_log_tells_the_name_and_the_image() {
        let (dir, id) = (tempfile::tempdir().unwrap(), "cd".repeat(32));
        let home = dir.path().join(&id);
        fs::create_dir_all(home.join("userdata")).unwrap();
        let docker = home.join(format!("{id}-json.log"));
        assert_eq!(told(&docker), [format!("container_id={id}")]);
        let config = r#"{"ID":"x","Name":"/web","Config":{"Image":"nginx:1","Env":[]},"State":{}}"#;
        fs::write(home.join("config.v2.json"), config).unwrap();
        assert_eq!(told(&docker), [&format!("container_id={id}"), "container_name=web", "image=nginx:1"]);
        fs::write(home.join("config.v2.json"), "{").unwrap();
        assert_eq!(told(&docker), [format!("container_id={id}")]);
        let rows = format!(
            r#"[{{"id":"other"}},{{"id":"{id}","names":["db"],"image":"5c","metadata":"{{\"image-name\":\"bb:1\"}}"}}]"#
        );
        fs::write(dir.path().join("containers.json"), rows).unwrap();
        let podman = home.join("userdata/ctr.log");
        assert_eq!(told(&podman), [&format!("container_id={id}"), "container_name=db", "image=bb:1"]);
    }
}
