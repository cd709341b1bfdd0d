use super::super::Status;
use super::*;
use std::time::Duration;

/// Feeds `bytes`, and says what came of it: requests by path, bodies, ends.
fn feed(connection: &mut Connection, bytes: &[u8]) -> Vec<String> {
    let input = [connection.carry(), bytes].concat();
    let (mut at, mut found) = (0, Vec::new());
    loop {
        let (used, event) = connection.step(&input[at..]);
        at += used;
        found.push(match event {
            Event::More | Event::Full => break,
            Event::Request(number, head) => format!("{number} {}", head.path()),
            Event::Body(piece) => String::from_utf8_lossy(piece).into_owned(),
            Event::End(number) => format!("{number} end"),
            Event::Refused(number, refusal) => format!("{number} {}", refusal.status.code()),
        });
    }
    connection.keep(&input[at..]);
    found
}

fn fresh() -> (Connection, Instant) {
    let t0 = Instant::now();
    (Connection::new(1 << 20, t0), t0)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

fn text(body: &'static str) -> Response {
    Response::text(Status::OK, body)
}

/// The bodies of the answers that went out, and whether the last of them closes.
fn written(connection: &mut Connection) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    assert!(connection.write(&mut out).unwrap());
    let out = String::from_utf8(out).unwrap();
    let bodies = out.split("HTTP/1.1 ").skip(1);
    let body = |answer: &str| match answer.split_once("\r\n\r\n") {
        Some((_, "")) | None => answer.lines().next().unwrap_or_default().to_owned(),
        Some((_, body)) => body.to_owned(),
    };
    (bodies.map(body).collect(), out.contains("Connection: close"))
}

#[test]
fn pipelined_requests_are_answered_in_their_order_whatever_order_answers_come_in() {
    let (mut connection, _) = fresh();
    let found = feed(&mut connection, [get("/a"), get("/b"), get("/c")].concat().as_bytes());
    assert_eq!(found, ["0 /a", "0 end", "1 /b", "1 end", "2 /c", "2 end"]);
    connection.answer(2, text("c"));
    assert!(!connection.has_output());
    connection.answer(0, text("a"));
    connection.answer(0, text("nobody's"));
    assert_eq!(written(&mut connection), (vec!["a".into()], false));
    connection.answer(1, text("b"));
    assert_eq!(written(&mut connection).0, ["b", "c"]);
    assert!(connection.is_idle());
}

#[test]
fn a_client_that_pipelines_for_ever_is_not_read_until_something_is_answered() {
    let (mut connection, _) = fresh();
    let found = feed(&mut connection, get("/a").repeat(PIPELINE_MAX + 3).as_bytes());
    assert_eq!(found.len(), 2 * PIPELINE_MAX);
    assert!(!connection.wants_input());
    connection.answer(0, text("a"));
    assert!(connection.wants_input());
    assert_eq!(feed(&mut connection, b""), ["8 /a", "8 end"]);
}

#[test]
fn a_client_that_waits_for_a_word_gets_it_in_turn_or_an_answer_instead() {
    let wait = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    let (mut connection, _) = fresh();
    feed(&mut connection, (get("/a") + &post("/b", wait)).as_bytes());
    connection.go_on(1);
    assert!(!connection.has_output(), "the answer before it comes first");
    connection.answer(0, text("a"));
    let (out, close) = written(&mut connection);
    assert_eq!((&out[..], close), (&["a".to_owned(), "100 Continue".to_owned()][..], false));
    assert_eq!(feed(&mut connection, b"abc"), ["abc", "1 end"]);

    let (mut connection, _) = fresh();
    feed(&mut connection, post("/b", wait).as_bytes());
    connection.answer(0, text("no"));
    assert_eq!(written(&mut connection), (vec!["no".into()], true));
    assert!(connection.is_done(), "whether the body comes now, nobody knows");
}

#[test]
fn the_body_of_a_refused_request_is_skipped_if_it_is_short_and_ends_the_connection_if_not() {
    let (mut connection, _) = fresh();
    assert_eq!(feed(&mut connection, post("/a", "Content-Length: 6\r\n").as_bytes()), ["0 /a"]);
    connection.answer(0, text("no"));
    assert_eq!(written(&mut connection), (vec!["no".into()], false));
    assert_eq!(feed(&mut connection, format!("GET / {}", get("/b")).as_bytes()), ["1 /b", "1 end"]);

    for fields in ["Transfer-Encoding: chunked\r\n", "Content-Length: 900000\r\n"] {
        let (mut connection, _) = fresh();
        feed(&mut connection, post("/a", fields).as_bytes());
        connection.answer(0, text("no"));
        assert_eq!(written(&mut connection), (vec!["no".into()], true));
        assert!(connection.is_done() && feed(&mut connection, b"5\r\nhello").is_empty());
    }
}

#[test]
fn a_connection_ends_behind_the_answer_that_closes_it() {
    let (mut connection, _) = fresh();
    let last = post("/a", "Connection: close\r\nContent-Length: 2\r\n") + "hi" + &get("/b");
    assert_eq!(feed(&mut connection, last.as_bytes()), ["0 /a", "hi", "0 end"]);
    assert!(!connection.is_done());
    connection.answer(0, text("bye"));
    assert_eq!(written(&mut connection), (vec!["bye".into()], true));
    assert!(connection.is_done());
}

#[test]
fn what_is_no_request_is_answered_in_its_turn_and_nothing_behind_it_is_read() {
    let (mut connection, _) = fresh();
    let stream = get("/a") + "GARBAGE\r\n\r\n" + &get("/b");
    assert_eq!(feed(&mut connection, stream.as_bytes()), ["0 /a", "0 end", "1 400"]);
    connection.answer(1, text("bad"));
    assert!(!connection.has_output());
    connection.answer(0, text("a"));
    assert_eq!(written(&mut connection), (vec!["a".into(), "bad".into()], true));

    // In the middle of a body it is that request that is refused.
    let (mut connection, _) = fresh();
    let stream = post("/a", "Transfer-Encoding: chunked\r\n") + "x\r\n";
    assert_eq!(feed(&mut connection, stream.as_bytes()), ["0 /a", "0 400"]);
    connection.answer(0, text("bad"));
    assert_eq!(written(&mut connection), (vec!["bad".into()], true));
}

#[test]
fn a_client_that_ends_its_side_still_gets_the_answers_to_whole_requests() {
    let (mut connection, _) = fresh();
    feed(&mut connection, (get("/a") + &post("/b", "Content-Length: 9\r\n") + "half").as_bytes());
    connection.end_input();
    connection.answer(1, text("nobody's"));
    connection.answer(0, text("a"));
    assert_eq!(written(&mut connection).0, ["a"]);
    assert!(connection.is_done());
}

#[test]
fn a_server_that_closes_answers_what_is_under_way_and_says_which_answer_is_the_last() {
    let (mut connection, _) = fresh();
    feed(&mut connection, (get("/a") + &get("/b")).as_bytes());
    connection.close();
    assert!(feed(&mut connection, get("/c").as_bytes()).is_empty());
    connection.answer(0, text("a"));
    assert!(!written(&mut connection).1);
    connection.answer(1, text("b"));
    assert!(written(&mut connection).1 && connection.is_done());
    let (mut connection, _) = fresh();
    feed(&mut connection, post("/a", "Content-Length: 2\r\n").as_bytes());
    connection.close();
    assert_eq!(feed(&mut connection, b"hi"), ["hi", "0 end"]);
    connection.answer(0, text("a"));
    assert!(written(&mut connection).1 && connection.is_done());
}

#[test]
fn a_head_has_ten_seconds_in_all_and_a_body_must_keep_its_rate() {
    let (patience, second) = (Patience::default(), Duration::from_secs(1));
    let (mut connection, t0) = fresh();
    assert_eq!(connection.overdue(t0 + patience.head, &patience), Some(Overdue::Idle), "nothing came at all");
    for n in 1..10 {
        feed(&mut connection, b"G");
        connection.mark(t0 + n * second);
        assert_eq!(connection.overdue(t0 + n * second, &patience), None);
    }
    assert_eq!(connection.overdue(t0 + 10 * second, &patience), Some(Overdue::Head));

    let (mut connection, t0) = fresh();
    feed(&mut connection, post("/", "Content-Length: 100000\r\n").as_bytes());
    connection.mark(t0);
    assert_eq!(connection.deadline(&patience), Some(t0 + 10 * second));
    feed(&mut connection, &[b'x'; 2048]);
    connection.mark(t0 + second);
    assert_eq!(connection.overdue(t0 + 12 * second - Duration::from_millis(1), &patience), None);
    assert_eq!(connection.overdue(t0 + 12 * second, &patience), Some(Overdue::Body));
    connection.excuse(t0 + 12 * second);
    assert_eq!(connection.overdue(t0 + 21 * second, &patience), None);
}

#[test]
fn a_connection_may_rest_between_requests_and_has_our_time_for_free() {
    let (patience, second) = (Patience::default(), Duration::from_secs(1));
    let (mut connection, t0) = fresh();
    feed(&mut connection, get("/a").as_bytes());
    connection.mark(t0);
    assert_eq!(connection.deadline(&patience), None, "it is us who are at work");
    for (number, at) in [(0, 5 * second), (1, 60 * second)] {
        connection.answer(number, text("a"));
        connection.mark(t0 + at);
        assert_eq!(connection.deadline(&patience), Some(t0 + at + patience.answer));
        written(&mut connection);
        connection.mark(t0 + at);
        assert_eq!(connection.deadline(&patience), Some(t0 + at + patience.idle));
        feed(&mut connection, get("/a").as_bytes());
    }
}

#[test]
fn behind_the_last_answer_a_client_is_heard_for_a_second_and_a_mebibyte() {
    let patience = Patience::default();
    let (mut connection, t0) = fresh();
    feed(&mut connection, b"\0");
    connection.answer(0, text("no"));
    written(&mut connection);
    connection.mark(t0);
    assert_eq!(connection.overdue(t0, &patience), None);
    assert_eq!(connection.overdue(t0 + patience.last, &patience), Some(Overdue::Last));
    for _ in 0..9 {
        feed(&mut connection, &[0; 128 << 10]);
    }
    assert_eq!(connection.overdue(t0, &patience), Some(Overdue::Last));
}

#[test]
fn an_answer_nobody_takes_is_waited_for_ten_seconds() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let patience = Patience::default();
    let (mut connection, t0) = fresh();
    feed(&mut connection, get("/a").as_bytes());
    connection.answer(0, text("a"));
    assert!(!connection.write(&mut Full).unwrap());
    connection.mark(t0);
    connection.mark(t0 + patience.answer / 2);
    assert_eq!(connection.overdue(t0 + patience.answer, &patience), Some(Overdue::Answer));
}
