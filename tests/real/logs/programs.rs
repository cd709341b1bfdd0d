//! The programs whose logs are read, each run so that it writes a few lines worth reading.

use super::super::part::{Part, finish};
use super::super::support::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the first visitor of nginx says it is.
pub const NGINX_AGENT: &str = r#"trial "1""#;
/// Somebody who is not root, as which postgres insists to run. It may still read where the program lies.
const NOBODY: u32 = 65_534;

/// A directory with one log in it that a program will write.
pub struct Place {
    dir: tempfile::TempDir,
    file: &'static str,
}

impl Place {
    /// An empty one; the log will be `logs/FILE`.
    pub fn new(file: &'static str) -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("logs")).expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        Place { dir, file }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn log(&self) -> PathBuf {
        self.dir().join("logs").join(self.file)
    }

    fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    fn new_folder(&self, name: &str) -> PathBuf {
        let path = self.dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    fn open_log(&self) -> File {
        File::options().create(true).append(true).open(self.log()).expect("a log")
    }

    /// Waits until the log, or another file of this place, says something.
    fn wait_said(&self, path: &Path, said: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(path).is_ok_and(|text| said(&text)) {
            assert!(Instant::now() < deadline, "{}: {:?}", path.display(), fs::read_to_string(path));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Installs a package into a root of its own and removes it.
    pub fn dpkg(&self) {
        let control = self.new_folder("package/DEBIAN").join("control");
        let text = "Package: ringmain-trial\nVersion: 1.2-3\nArchitecture: all\nMaintainer: a <a@b.invalid>\nDescription: a\n";
        fs::write(control, text).expect("written");
        fs::write(self.new_folder("package/usr/share/trial").join("file"), "a\n").expect("written");
        finish(Command::new("dpkg-deb").args(["--build", &self.path("package"), &self.path("trial.deb")]));
        let state = self.new_folder("root/var/lib/dpkg");
        for folder in ["info", "updates", "triggers"] {
            fs::create_dir(state.join(folder)).expect("a directory");
        }
        for file in ["status", "available"] {
            fs::write(state.join(file), "").expect("written");
        }
        for what in [["--install", &self.path("trial.deb")], ["--remove", "ringmain-trial"]] {
            let places = [format!("--root={}", self.path("root")), format!("--log={}", self.log().display())];
            finish(Command::new("dpkg").args(places).arg("--force-bad-path").args(what));
        }
    }

    /// Has nginx answer three requests: one well, one for what is not there, one that is none.
    pub fn nginx(&self, log: &str) {
        let port = free_port();
        let root = self.new_folder("www");
        fs::write(root.join("page"), "hello\n").expect("written");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", self.path(kind)))
            .join(" ");
        let other = if log == "access.log" { "error.log" } else { "access.log" };
        let path = |name: &str| if name == log { self.log().display().to_string() } else { self.path(other) };
        let config = format!(
            "daemon off; master_process off; pid {}; error_log {} info; events {{}}\n\
             http {{ access_log {} combined; {temporary} default_type text/plain;\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
            self.path("nginx.pid"),
            path("error.log"),
            path("access.log"),
            root.display()
        );
        fs::write(self.dir().join("nginx.conf"), config).expect("written");
        let mut command = Command::new("nginx");
        command.args(["-p", &self.path(""), "-c", &self.path("nginx.conf"), "-e", &path("error.log")]);
        let nginx = Running::start(&mut command, File::create(self.path("nginx.out")).expect("a file"));
        ask(
            port,
            &format!(
                "GET /page?q=1%202 HTTP/1.1\r\nHost: test.invalid\r\nUser-Agent: {NGINX_AGENT}\r\nConnection: close\r\n\r\n"
            ),
        );
        ask(
            port,
            "GET /nope HTTP/1.1\r\nHost: test.invalid\r\nReferer: http://a/b\r\nConnection: close\r\n\r\n",
        );
        ask(port, "HELLO\r\n\r\n");
        // It answers first and logs then.
        self.wait_said(Path::new(&path("access.log")), |text| text.lines().count() == 3);
        nginx.end();
    }

    /// Starts and ends redis.
    pub fn redis(&self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", &self.path("redis.sock"), "--save", ""]);
        command.args(["--dir", &self.path(""), "--logfile"]).arg(self.log());
        let redis = Running::start(&mut command, File::create(self.path("redis.out")).expect("a file"));
        self.wait_said(&self.log(), |text| text.contains("ready to accept connections"));
        redis.end();
    }

    /// Has postgres divide by zero and look for a table that is not there.
    pub fn postgres(&self) {
        let home = self.new_folder("postgres");
        std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).expect("we are root");
        let as_nobody = |program: &str| {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
            command.args([
                "--clear-groups",
                "--inh-caps=+dac_read_search",
                "--ambient-caps=+dac_read_search",
            ]);
            command.arg(program).current_dir(&home).env("HOME", &home).env("TZ", "UTC");
            command
        };
        let data = home.join("data");
        finish(as_nobody("postgres-initdb").arg("-D").arg(&data).args([
            "-E",
            "UTF8",
            "--locale=C",
            "-A",
            "trust",
            "-N",
        ]));
        let mut postgres = as_nobody("postgres")
            .args(["--single", "-j", "-D"])
            .arg(&data)
            .args([
                "-c",
                "log_min_messages=info",
                "-c",
                "log_line_prefix=%m [%p] ",
                "-c",
                "log_timezone=UTC",
                "postgres",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(self.open_log())
            .spawn()
            .expect("postgres; `.ci/parts DIR` gets it into DIR/bin");
        let mut stdin = postgres.stdin.take().expect("piped");
        stdin.write_all(b"SELECT 1/0;\n\nSELECT *\n  FROM\n    nothing;\n\n").expect("it reads");
        drop(stdin);
        assert!(postgres.wait().expect("it ends").success());
    }

    /// Has rsyslog write down who logged in, as it does on Debian.
    pub fn auth(&self) {
        let config = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{}\")\n\
             $ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat\nauth,authpriv.* {}\n",
            self.path("log.sock"),
            self.log().display()
        );
        fs::write(self.dir().join("rsyslog.conf"), config).expect("written");
        let mut command = Command::new("rsyslogd");
        command.args(["-n", "-f", &self.path("rsyslog.conf"), "-i", &self.path("rsyslog.pid")]);
        let mut rsyslog = Part::start(self.dir(), &mut command);
        rsyslog.wait_file(&self.dir().join("rsyslog.pid"));
        let deadline = Instant::now() + PATIENCE;
        while !self.dir().join("log.sock").exists() {
            assert!(Instant::now() < deadline, "rsyslog opens no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        for (priority, arguments, text) in [
            (
                "authpriv.info",
                &["-t", "sshd", "--id=4711"][..],
                "Accepted publickey for ann from 192.0.2.7 port 51234 ssh2",
            ),
            ("auth.notice", &["-t", "su"], "FAILED SU (to root) bob on pts/1"),
        ] {
            let socket = self.path("log.sock");
            finish(Command::new("logger").args(["-u", &socket, "-p", priority]).args(arguments).arg(text));
        }
        self.wait_said(&self.log(), |text| text.lines().count() == 2 && text.ends_with('\n'));
    }

    /// Has the journal of three messages printed in the form `journalctl` calls `form`.
    pub fn journal(&self, form: &str) {
        let now = jiff::Timestamp::now().as_microsecond();
        let mut text = String::new();
        for (at, (message, priority, unit)) in [
            ("what nobody asked for", 7, "other.service"),
            ("Started shop.service.", 6, "shop-1.service"),
            ("Failed with result 'exit-code'.", 4, "other.service"),
        ]
        .into_iter()
        .enumerate()
        {
            text += &format!(
                "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=4bb9a3a0a0f94e05a3a5bd4a1b8b7b11\n\
                 MESSAGE={message}\nPRIORITY={priority}\n_HOSTNAME=test\n_SYSTEMD_UNIT={unit}\n\n",
                now + at as i64,
                100 + at
            );
        }
        fs::write(self.dir().join("messages"), text).expect("written");
        let journal = self.path("test.journal");
        finish(Command::new("systemd-journal-remote").args(["-o", &journal, &self.path("messages")]));
        let printed = finish(Command::new("journalctl").args(["--file", &journal, "-o", form]));
        self.open_log().write_all(&printed.stdout).expect("written");
    }

    /// Has Python log an exception that came of another, between two lines.
    pub fn python(&self) {
        const PROGRAM: &str = r#"
import logging, sys
logging.basicConfig(filename=sys.argv[1], format='%(asctime)s %(levelname)s %(name)s %(message)s', level='INFO')
def price(order):
    try:
        return order['price'] / order['pieces']
    except ZeroDivisionError:
        raise RuntimeError('no price')
logging.info('begun')
try:
    price({'price': 3, 'pieces': 0})
except RuntimeError:
    logging.getLogger('shop').exception('the order could not be priced')
logging.warning('ended')
"#;
        finish(Command::new("parts-python").args(["-c", PROGRAM]).arg(self.log()));
    }

    /// Has the kernel log a line of ours among its own, and all of them printed.
    pub fn kernel(&self) {
        fs::write("/dev/kmsg", "<29>ringmain-trial[1]: hello from the test\n").expect("we are root");
        let printed =
            finish(Command::new("dmesg").args(["--decode", "--force-prefix", "--time-format", "iso"]));
        self.open_log().write_all(&printed.stdout).expect("written");
    }

    /// Has Prometheus start where somebody else listens.
    pub fn prometheus(&self) {
        fs::write(self.dir().join("prometheus.yaml"), "global: { scrape_interval: 1m }\n").expect("written");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", self.path("prometheus.yaml")));
        command.arg(format!("--storage.tsdb.path={}", self.path("metrics")));
        command.arg(format!("--web.listen-address={}", taken.local_addr().expect("bound")));
        let mut child = command.stdin(Stdio::null()).stderr(self.open_log()).spawn().expect("prometheus");
        assert!(!child.wait().expect("it ends").success());
    }
}

/// A program that ends when it is asked to.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, output: File) -> Running {
        let also = output.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(also).spawn();
        Running(
            child
                .unwrap_or_else(|error| panic!("{command:?}: {error}; `.ci/parts DIR` gets it into DIR/bin")),
        )
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it is ours");
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Sends a request, once somebody listens, and reads all of the answer.
fn ask(port: u16, request: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.write_all(request.as_bytes()).expect("it reads");
    stream.read_to_end(&mut Vec::new()).expect("it answers");
}
