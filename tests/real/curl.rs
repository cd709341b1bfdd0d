//! curl as a client of the `http` source: what everybody tries first.

use super::part::finish;
use super::support::{Instance, Recount, assert_ledger, line, number, row};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { web: { type: http, listen: ["tcp://127.0.0.1:0"], auth: { username: ann, password: secret } } }
sinks: { out: { type: file, path: out/all.log } }
"#;

fn curl(dir: &Path, args: &[&str]) -> Output {
    finish(
        Command::new("curl")
            .current_dir(dir)
            .args(["--silent", "--show-error", "--user", "ann:secret"])
            .args(args),
    )
}

fn lines(stream: &str, count: u64) -> String {
    (0..count).map(|n| line(stream, n, 120) + "\n").collect()
}

#[test]
fn curl_posts_files_streams_and_json_over_one_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), CONFIG);
    let url = format!("http://{}/", instance.address("source web ", "http://"));
    for (name, count) in [("whole", 2000), ("streamed", 20_000), ("packed", 5000)] {
        fs::write(dir.path().join(name), lines(name, count)).expect("written");
    }
    finish(Command::new("gzip").arg(dir.path().join("packed")));

    // Three files over one connection: with a length, in chunks behind `Expect: 100-continue`, and packed.
    let told = curl(
        dir.path(),
        &[
            "--verbose",
            "--data-binary",
            "@whole",
            &url,
            "--next",
            "--silent",
            "--user",
            "ann:secret",
            "--data-binary",
            "@streamed",
            "--header",
            "Transfer-Encoding: chunked",
            "--header",
            "Expect: 100-continue",
            "--header",
            "Content-Type: text/plain",
            &url,
            "--next",
            "--silent",
            "--user",
            "ann:secret",
            "--data-binary",
            "@packed.gz",
            "--header",
            "Content-Encoding: gzip",
            &url,
        ],
    );
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&told.stdout).matches("\"refused\":0").count(), 3, "{said}");
    assert!(said.matches("Re-using existing").count() >= 1, "{said}");

    // `curl -d` joins the lines of a file, and says it is a form: one entry.
    curl(dir.path(), &["--data", "hello from curl", &url]);
    let json = curl(
        dir.path(),
        &[
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            "[{\"a\":1},{\"a\":2},3]",
            "--write-out",
            "%{http_code}",
            &url,
        ],
    );
    let json = String::from_utf8_lossy(&json.stdout).into_owned();
    assert!(json.contains("\"taken\":2,\"refused\":1") && json.ends_with("207"), "{json}");
    let wrong = Command::new("curl")
        .args(["--silent", "--user", "ann:wrong", "--write-out", "%{http_code}", "--data", "x", &url])
        .output();
    assert!(String::from_utf8_lossy(&wrong.expect("it runs").stdout).ends_with("401"));

    let stats = instance.wait_delivered("out", 2000 + 20_000 + 5000 + 3);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "web"), "refused_entries"), 1);
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    recount.assert_exact("whole", 2000);
    recount.assert_exact("streamed", 20_000);
    recount.assert_exact("packed", 5000);
    assert_eq!(recount.foreign, ["hello from curl", "{\"a\":1}", "{\"a\":2}"]);
}
