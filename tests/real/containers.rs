//! Ten containers of a real engine (podman) start, say numbered lines, end and start again, while Ringmain is killed, its
//! engine's API is restarted, and both come back: every line comes, by the API and from the engine's files, with its
//! labels, and hardly any twice.
//!
//! What has to come is recounted from the engine's own log files.

use super::part::{Part, finish};
use super::support::{Instance, PATIENCE, assert_ledger, at_rest};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const CONTAINERS: usize = 10;
/// Says sixty lines from where it last ended, some to its errors, and two that the engine cuts in pieces.
const SCRIPT: &str = r#"
i=0; [ -f /n ] && read i </n
end=$((i + 60)); long=0123456789abcdef
for k in 1 2 3 4 5 6 7 8 9 10; do long=$long$long; done
while [ $i -lt $end ]; do
    echo "line $i"
    [ $((i % 5)) = 0 ] && echo "error $i" >&2
    [ $((i % 60)) = 30 ] && echo "long $i $long.$long"
    [ $((i % 10)) = 9 ] && sleep 0.2
    i=$((i + 1)); echo $i >/n
done
"#;

/// podman with a place of its own for everything.
struct Podman {
    dir: PathBuf,
    service: Option<Part>,
}

impl Podman {
    fn new(dir: &Path) -> Podman {
        let podman = Podman { dir: dir.to_path_buf(), service: None };
        fs::create_dir_all(dir.join("image/bin")).expect("a directory");
        let paths = std::env::var_os("PATH").expect("a path");
        let busybox =
            std::env::split_paths(&paths).map(|dir| dir.join("busybox")).find(|path| path.is_file());
        let busybox = busybox.expect("no busybox on the path; `.ci/parts DIR` gets it into DIR/bin");
        fs::copy(busybox, dir.join("image/bin/sh")).expect("copied");
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(dir.join("policy.json"), policy).expect("written");
        let (image, archive) = (dir.join("image"), dir.join("image.tar"));
        finish(Command::new("tar").arg("-C").arg(image).arg("-cf").arg(&archive).arg("."));
        let policy = dir.join("policy.json");
        finish(
            podman.command(&["import", "--signature-policy"]).arg(policy).arg(archive).arg("localhost/bb:1"),
        );
        podman
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("podman");
        for (flag, place) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.dir.join(place));
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Starts the API, after ending one that runs.
    fn serve(&mut self) {
        self.service = None;
        let _ = fs::remove_file(self.socket());
        let listen = format!("unix://{}", self.socket().display());
        let service = Part::start(&self.dir, &mut self.command(&["system", "service", "--time=0", &listen]));
        self.service = Some(service);
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "podman does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("p.sock")
    }

    /// Does something with all containers of `which` at once.
    fn all(&self, which: impl Iterator<Item = usize>, args: impl Fn(&str) -> Vec<String>) {
        let children: Vec<Child> = which
            .map(|n| {
                let args = args(&format!("c{n}"));
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                self.command(&args).stdout(Stdio::null()).spawn().expect("podman runs")
            })
            .collect();
        for mut child in children {
            assert!(child.wait().expect("it ends").success());
        }
    }

    fn run(&self) {
        self.all(0..CONTAINERS, |name| {
            let label = format!("number={name}");
            let flags = "run -d --network=none --log-driver=k8s-file --ulimit nofile=1024:4096 \
                --ulimit nproc=1024:4096 --security-opt seccomp=unconfined";
            let own = ["--name", name, "--label", &label, "localhost/bb:1", "/bin/sh", "-c", SCRIPT];
            flags.split_whitespace().chain(own).map(String::from).collect()
        });
    }

    fn logs(&self) -> String {
        self.dir.join("root/vfs-containers/*/userdata/ctr.log").display().to_string()
    }

    /// What the engine wrote down, by container and stream.
    fn said(&self) -> BTreeMap<(String, String), Vec<String>> {
        let rows =
            fs::read_to_string(self.dir.join("root/vfs-containers/containers.json")).expect("it is there");
        let rows: Vec<Value> = serde_json::from_str(&rows).expect("JSON");
        let mut said: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for row in rows {
            let (id, name) = (row["id"].as_str().expect("an id"), row["names"][0].as_str().expect("a name"));
            let log = self.dir.join(format!("root/vfs-containers/{id}/userdata/ctr.log"));
            let mut open: BTreeMap<&str, String> = BTreeMap::new();
            let text = fs::read_to_string(log).expect("it is there");
            for line in text.lines() {
                let parts: Vec<&str> = line.splitn(4, ' ').collect();
                let [_, stream, tag, text] = parts[..] else { panic!("no message: {line}") };
                open.entry(stream).or_default().push_str(text);
                if tag == "F" {
                    let whole = open.remove(stream).unwrap_or_default();
                    said.entry((name.to_owned(), stream.to_owned())).or_default().push(whole);
                }
            }
        }
        said
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.service = None;
        let _ = self.command(&["rm", "--all", "--force", "--time", "0"]).output();
    }
}

/// What came into the file of a sink, by container and stream; asserts the labels.
fn came(path: &Path, by_api: bool) -> BTreeMap<(String, String), Vec<String>> {
    let mut came: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let text = fs::read_to_string(path).unwrap_or_default();
    // A kill may have left half a line, which the next start repairs.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let label = |name: &str| entry["labels"][name].as_str().unwrap_or_default().to_owned();
        let name = label("container_name");
        assert_eq!((label("image"), label("container_id").len()), ("localhost/bb:1".into(), 64), "{entry}");
        if by_api {
            assert_eq!(label("number"), name);
        }
        let text = entry["message"].as_str().expect("a message").to_owned();
        came.entry((name, label("stream"))).or_default().push(text);
    }
    came
}

/// How many lines came twice, if all came.
fn twice(
    came: &BTreeMap<(String, String), Vec<String>>,
    said: &BTreeMap<(String, String), Vec<String>>,
) -> Option<usize> {
    let mut doubled = 0;
    for (key, lines) in said {
        let counts = |lines: &[String]| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
            counts
        };
        let (wanted, got) = (counts(lines), counts(came.get(key)?));
        assert!(got.keys().all(|line| wanted.contains_key(line)), "{key:?}: a line that nobody said");
        for (line, count) in wanted {
            let got = *got.get(&line)?;
            if got < count {
                return None;
            }
            doubled += got - count;
        }
    }
    Some(doubled)
}

#[test]
fn ten_containers_come_and_go_while_both_sides_are_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut podman = Podman::new(dir.path());
    podman.serve();
    let config = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources:\n\
         \x20 api: {{ type: docker, socket: {}, rescan: 1s, container_labels: [\"number\"], labels: {{ by: api }} }}\n\
         \x20 files: {{ type: file, include: [\"{}\"], format: cri, rescan: 1s, labels: {{ by: files }} }}\n\
         sinks: {{ out: {{ type: file, path: \"out/{{labels.by}}.json\", format: json }} }}\n",
        podman.socket().display(),
        podman.logs()
    );
    let outs = ["api", "files"].map(|by| dir.path().join(format!("out/{by}.json")));
    let some = |instance: &mut Instance, lines: usize| {
        instance.wait_stats("some lines", |_| {
            outs.iter().all(|out| fs::read_to_string(out).unwrap_or_default().lines().count() >= lines)
        });
    };
    let mut instance = Instance::start(dir.path(), &config);
    podman.run();
    some(&mut instance, 200);
    instance.kill();
    // While nobody listens some end in the middle of it and all go on.
    podman.all(0..CONTAINERS / 2, |name| ["stop", "--time", "0", name].map(String::from).into());
    podman.all(0..CONTAINERS, |name| ["wait", name].map(String::from).into());
    podman.all(0..CONTAINERS, |name| ["start", name].map(String::from).into());
    let mut instance = Instance::start(dir.path(), &config);
    some(&mut instance, 800);
    // The engine's API goes and comes back while they run.
    podman.serve();
    podman.all(0..CONTAINERS, |name| ["wait", name].map(String::from).into());
    podman.all(0..CONTAINERS, |name| ["start", name].map(String::from).into());
    instance.kill();
    let mut instance = Instance::start(dir.path(), &config);
    podman.all(0..CONTAINERS, |name| ["wait", name].map(String::from).into());
    let said = podman.said();
    let lines: usize = said.values().map(Vec::len).sum();
    assert!(said.len() == 2 * CONTAINERS && lines > 100 * CONTAINERS, "{lines} lines were said");
    let deadline = Instant::now() + PATIENCE;
    for (out, by_api) in outs.iter().zip([true, false]) {
        let doubled = loop {
            let came = came(out, by_api);
            match twice(&came, &said) {
                Some(doubled) => break doubled,
                None => {
                    let count: usize = came.values().map(Vec::len).sum();
                    assert!(
                        Instant::now() < deadline,
                        "{}: {count} of {lines}\n{}",
                        out.display(),
                        instance.log()
                    );
                    instance.stats();
                }
            }
        };
        writeln!(std::io::stdout(), "{}: {lines} lines, {doubled} twice", out.display()).expect("written");
        // Twice killed: what was delivered in the last 20 ms before each, of containers that pause every 200 ms.
        assert!(doubled <= lines / 5, "{}: {doubled} of {lines} twice", out.display());
    }
    let stats = instance.wait_stats("rest", at_rest);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    let _ = std::io::stdout().flush();
}
