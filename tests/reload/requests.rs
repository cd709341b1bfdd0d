//! Sources that listen change while their clients send: nobody is refused, nothing is lost, no connection ends.

use super::support::http::{Client, post};
use super::*;
use std::net::SocketAddr;

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn push(stream: &str, numbers: std::ops::Range<u64>) -> String {
    let value =
        |n: u64| serde_json::json!([(1_795_428_000_000_000_000 + n).to_string(), line(stream, n, 90)]);
    let values: Vec<Value> = numbers.map(value).collect();
    serde_json::json!({ "streams": [{ "stream": { "app": stream }, "values": values }] }).to_string()
}

/// What one client sends until it is `done`: requests of ten lines, each answered as wanted. How many lines.
fn send(address: SocketAddr, stream: &str, stays: bool, loki: bool, done: &AtomicBool) -> u64 {
    let address = address.to_string();
    let (mut count, mut client) = (0, Client::connect(&address));
    while !done.load(SeqCst) {
        if !stays {
            client = Client::connect(&address);
        }
        let numbers = count..count + 10;
        let (answer, wanted) = if loki {
            let body = push(stream, numbers);
            (client.ask("/loki/api/v1/push", "Content-Type: application/json\r\n", body), 204)
        } else {
            let body: String = numbers.map(|n| line(stream, n, 90) + "\n").collect();
            (client.ask("/", "Content-Type: text/plain\r\n", body), 200)
        };
        assert_eq!(answer.status, wanted, "{stream} at {count}: {answer:?}");
        count += 10;
        std::thread::park_timeout(Duration::from_millis(3));
    }
    count
}

#[test]
fn sources_of_requests_that_change_under_load_refuse_nobody_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (web, loki) = (free(), free());
    // Another address of this host: on the first one a client could be given the port while nobody listens there.
    let more = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let config = |n: u32| {
        let ack = ["delivered", "accepted"][n as usize % 2];
        let second = if n % 3 == 1 { format!(", \"tcp://{more}\"") } else { String::new() };
        let paths = ["", ", paths: { /: auto, /more: lines }"][n as usize / 2 % 2];
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  web: {{ type: http, listen: \
             [\"tcp://{web}\"{second}], ack: {ack}, max_connections: {}, labels: {{ round: \"{n}\" }}{paths} }}\n  \
             push: {{ type: loki, listen: [\"tcp://{loki}\"], max_body: {}MiB, labels: {{ round: \"{n}\" }} }}\n\
             sinks: {{ out: {{ type: file, path: \"out/{{source}}.log\" }} }}\n",
            100 + n,
            4 + n % 5,
        )
    };
    let mut instance = Instance::start(dir.path(), &config(0));
    let done = AtomicBool::new(false);
    let mut sent = Vec::new();
    std::thread::scope(|scope| {
        let _end = OnDrop(|| done.store(true, SeqCst));
        let done = &done;
        let clients: Vec<_> = [("a", web, true), ("b", web, true), ("c", web, false), ("d", web, false)]
            .into_iter()
            .map(|(name, to, stays)| (name, to, stays, false))
            .chain([("e", loki, true, true), ("f", loki, false, true)])
            .map(|(name, to, stays, loki)| (name, scope.spawn(move || send(to, name, stays, loki, done))))
            .collect();
        for n in 1..=reloads() {
            put(dir.path(), &config(n));
            let said = reload(&mut instance, &SAID);
            assert!(said.contains("in force"), "{said}\n{}", instance.log());
        }
        done.store(true, SeqCst);
        sent = clients.into_iter().map(|(name, client)| (name, client.join().expect("it sent"))).collect();
    });
    let all: u64 = sent.iter().map(|(_, count)| count).sum();
    assert_ledger(&instance.wait_delivered("out", all));
    let stats = instance.stats();
    for source in ["web", "push"] {
        assert_ne!(row(&stats, "sources", source)["removed"], true, "{stats:#}");
    }
    assert_eq!(instance.terminate(), 0);
    let mut recount = Recount::of(&dir.path().join("out"));
    for (name, count) in &sent {
        // Order is that of a connection; these come by a new one each time.
        if ["c", "d", "f"].contains(name) {
            recount.streams.get_mut(*name).expect("it came").sort_unstable();
        }
        recount.assert_exact(name, *count);
    }
    println!("{} reloads: {sent:?} lines, none lost, none twice, nobody refused", reloads());
}

#[test]
fn a_connection_goes_on_under_the_new_settings_of_its_source() {
    let dir = tempfile::tempdir().expect("a directory");
    let (stays, goes, comes, lines) = (free(), free(), free(), free());
    let config = |other: SocketAddr, round: &str, more: &str, max: &str| {
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  web: {{ type: http, listen: [\"tcp://{stays}\", \
             \"tcp://{other}\"], labels: {{ round: {round} }}, max_body: {max}{more} }}\n  net: {{ type: socket, listen: \
             [\"tcp://{lines}\"], labels: {{ round: {round} }} }}\nsinks: {{ out: {{ type: file, path: out.json, \
             format: json }} }}\n"
        )
    };
    let mut instance = Instance::start(dir.path(), &config(goes, "one", "", "1KiB"));
    let mut client = Client::connect(&stays.to_string());
    let mut waiting = Client::connect(&goes.to_string());
    let mut socket = TcpStream::connect(lines).expect("it listens");
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(client.ask("/", text, "first").status, 200);
    assert_eq!(client.ask("/new", text, "nowhere yet").status, 404);
    socket.write_all(b"first line\n").expect("sent");
    instance.wait_delivered("out", 2);
    put(dir.path(), &config(comes, "two", ", paths: { /new: lines }", "4KiB"));
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("in force"), "{said}");
    assert_eq!(client.ask("/", text, "not here any more").status, 404);
    let long = "x".repeat(2000);
    assert_eq!(client.ask("/new", text, &long).status, 200, "longer bodies may come now");
    assert_eq!(waiting.ask("/new", text, "by a door that is closed").status, 200);
    assert_eq!(post(&comes.to_string(), "/new", text, "by the new door").status, 200);
    socket.write_all(b"second line\n").expect("sent");
    instance.wait_delivered("out", 6);
    assert!(TcpStream::connect(goes).is_err(), "nobody listens there any more");
    drop((client, waiting, socket));
    assert_eq!(instance.terminate(), 0);
    let text = fs::read_to_string(dir.path().join("out.json")).expect("written");
    let mut came: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).expect("JSON");
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            (text(&entry["labels"]["round"]), text(&entry["message"]))
        })
        .collect();
    came.sort();
    let wanted = [
        ("one", "first"),
        ("one", "first line"),
        ("two", "by a door that is closed"),
        ("two", "by the new door"),
        ("two", "second line"),
        ("two", &long),
    ];
    assert_eq!(came, wanted.map(|(round, text)| (round.to_owned(), text.to_owned())));
}

#[test]
fn a_change_that_is_taken_back_leaves_the_doors_and_their_clients_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (web, fresh, taken) = (free(), free(), TcpListener::bind("127.0.0.1:0").unwrap());
    let config = |listen: &str, label: &str| {
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources: {{ web: {{ type: http, listen: [{listen}], \
             labels: {{ round: {label} }} }} }}\nsinks: {{ out: {{ type: file, path: \"out/{{labels.round}}.log\" }} }}\n"
        )
    };
    let one = format!("\"tcp://{web}\"");
    let mut instance = Instance::start(dir.path(), &config(&one, "one"));
    let mut client = Client::connect(&web.to_string());
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(client.ask("/", text, "before").status, 200);
    let at = taken.local_addr().unwrap();
    put(dir.path(), &config(&format!("\"tcp://{fresh}\", \"tcp://{at}\""), "two"));
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("refused"), "{said}");
    instance.wait_log(&format!("source web: cannot listen on tcp://{at}: address in use"));
    assert_eq!(client.ask("/", text, "after").status, 200);
    assert_eq!(post(&web.to_string(), "/", text, "again").status, 200);
    drop(TcpListener::bind(fresh).expect("nobody listens there"));
    instance.wait_delivered("out", 3);
    let text = fs::read_to_string(dir.path().join("out/one.log")).expect("written");
    assert_eq!(text, "before\nafter\nagain\n");
}
