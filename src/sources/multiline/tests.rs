//! What is joined, and that neither pieces nor places to begin again matter.
//!
//! The traces here show every rule at least once, with ordinary lines between them; `tests/traces/` has what real programs
//! printed. `§` stands where an event is to begin.

use super::framer::EventFramer;
use super::pattern::Pattern;
use super::preset::Preset;
use super::*;
use crate::sources::net::incoming::Framing;
use proptest::prelude::*;
use std::sync::Arc;

const JAVA: &str = r#"§Server started
§Nov 23, 2026 2:23:47 PM T main
SEVERE: request failed
java.io.IOException: cannot read
	at T.b(T.java:4)
	at T.main(T.java:11)
Caused by: java.lang.IllegalStateException: deep
  second line of it
	at T.c(T.java:3)
	... 2 more

§Nov 23, 2026 2:23:47 PM T main
INFO: next request
java.lang.IllegalArgumentException: body
	at T.main(T.java:14)
	Suppressed: java.io.IOException: close failed
		at T$R.close(T.java:5)
		... 1 more
	Caused by: java.lang.RuntimeException: inner
		... 2 more
§2026-11-23 10:00:00,123 ERROR [main] app.Main - request 7 failed
java.io.IOException: cannot read
	at T.b(T.java:4)
	at T.main(T.java:16)
Caused by: java.lang.IllegalStateException: deep
  second line of it
	at T.c(T.java:3)
	... 2 more
§2026-11-23 10:00:01,000 INFO  [main] app.Main - ok
§Exception in thread "worker-1" java.lang.NullPointerException
	at T.lambda$main$0(T.java:18)
	at java.base/java.lang.Thread.run(Thread.java:840)
§bye
§Exception in thread "main" java.lang.Exception: uncaught
	at T.main(T.java:21)
Caused by: java.util.concurrent.TimeoutException
	... 1 more
"#;

const PYTHON: &str = r#"§ready
§2026-11-23 14:23:47,813 ERROR app request failed
Traceback (most recent call last):
  File "/tmp/tr/t.py", line 8, in <module>
    f({})
  File "/tmp/tr/t.py", line 5, in f
    def f(d): return d["x"]
                     ~^^^^^
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/tmp/tr/t.py", line 10, in <module>
    int("a")
ValueError: invalid literal for int() with base 10: 'a'
§2026-11-23 14:23:47,816 WARNING app slow
Traceback (most recent call last):
  File "/tmp/tr/t.py", line 16, in <module>
    1/0
    ~^~
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/tmp/tr/t.py", line 18, in <module>
    raise RuntimeError("wrapped") from e
RuntimeError: wrapped
§normal line
§2026-11-23 14:23:47,816 ERROR root deep
Traceback (most recent call last):
  File "/tmp/tr/t.py", line 23, in <module>
    try: rec(0)
         ^^^^^^
  File "/tmp/tr/t.py", line 22, in rec
    def rec(n): return rec(n+1)
                       ^^^^^^^^
  File "/tmp/tr/t.py", line 22, in rec
    def rec(n): return rec(n+1)
                       ^^^^^^^^
  File "/tmp/tr/t.py", line 22, in rec
    def rec(n): return rec(n+1)
                       ^^^^^^^^
  [Previous line repeated 996 more times]
RecursionError: maximum recursion depth exceeded
§2026-11-23 14:23:47,832 ERROR app group
  + Exception Group Traceback (most recent call last):
  |   File "/tmp/tr/t.py", line 27, in <module>
  |     raise ExceptionGroup("several", [ValueError("a"), OSError(2, "b")])
  | ExceptionGroup: several (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: a
    +---------------- 2 ----------------
    | FileNotFoundError: [Errno 2] b
    +------------------------------------
§2026-11-23 14:23:47,833 ERROR app done
Traceback (most recent call last):
  File "/tmp/tr/t.py", line 33, in <module>
    raise E
E
"#;

const GO: &str = r#"§2026/11/23 10:00:00 listening
§panic: runtime error: index out of range [5] with length 3 [recovered]
	panic: again

goroutine 1 [running]:
main.f(...)
	/src/main.go:8
main.(*Server).run(0xc000010000, {0x1, 0x2})
	/src/main.go:12 +0x1d
panic({0x4a0d20, 0xc000012028})
	/usr/local/go/src/runtime/panic.go:770 +0x132
main.main.func1[...]()
	/src/main.go:20 +0x25
created by main.main in goroutine 1
	/src/main.go:19 +0x7c
...additional frames elided...

goroutine 17 [chan receive, 5 minutes, locked to thread]:
net/http.(*connReader).backgroundRead(0xc0000a4000)
	/usr/local/go/src/net/http/server.go:681 +0x42
§exit status 2
§done(x)
§2026/11/23 10:00:01 http: panic serving 127.0.0.1:40000: boom
goroutine 6 [running]:
net/http.(*conn).serve.func1()
	/usr/local/go/src/net/http/server.go:1850 +0xbf
§2026/11/23 10:00:02 next
§fatal error: all goroutines are asleep - deadlock!

goroutine 1 [select (no cases)]:
main.main()
	/src/main.go:5 +0xf
§SIGSEGV: segmentation violation
PC=0x46d4a1 m=0 sigcode=1

goroutine 0 gp=0x5a2c40 m=0 mp=0x5a3560 [idle]:
runtime.futex(0x5a36a0, 0x80)
	/usr/local/go/src/runtime/sys_linux_amd64.s:558 +0x21

rax    0xca
rflags 0x286
§a word
§goroutine 3 [running]:
main.g()
	/src/main.go:9 +0x1
§plain
"#;

fn rules(rule: Rule) -> Rules {
    Rules { rule, max_lines: 500, max_bytes: 100_000, timeout: Duration::from_secs(1) }
}

fn start(pattern: &str) -> Rules {
    rules(Rule::Start(Pattern::compile(pattern).unwrap()))
}

/// Feeds `stream` cut at the given places, keeping the carry as a source does.
fn in_pieces(framer: &mut EventFramer, stream: &[u8], cuts: &[usize]) -> Vec<oracle::Entry> {
    let (mut found, mut carry, mut from) = (Vec::new(), Vec::new(), 0);
    for &cut in cuts.iter().chain([&stream.len()]) {
        carry.extend_from_slice(&stream[from..cut]);
        from = cut;
        let mut at = 0;
        while let Some(event) = framer.next_event(&carry, &mut at) {
            found.push((event.of(&carry).to_vec(), event.truncated));
        }
        carry.drain(..at);
        assert!(carry.len() <= framer.longest() + 1, "{} bytes kept", carry.len());
    }
    let mut at = 0;
    if let Some(event) = framer.end_before_rest(&carry, &mut at) {
        found.push((event.of(&carry).to_vec(), event.truncated));
    }
    if let Some(last) = framer.last_frame(&carry[at..]) {
        found.push((last.of(&carry[at..]).to_vec(), last.truncated));
    }
    assert_eq!(framer.patience(), None, "ready for another stream");
    found
}

fn events(rules: Rules, stream: &str) -> Vec<String> {
    let found = in_pieces(&mut EventFramer::new(Arc::new(rules), 1000), stream.as_bytes(), &[]);
    found.into_iter().map(|(event, _)| String::from_utf8(event).unwrap()).collect()
}

/// The events that the marks in `text` ask for.
fn assert_as_marked(preset: Preset, text: &str) {
    let stream = text.replace('§', "");
    let wanted: Vec<&str> = text.split('§').skip(1).map(|event| event.strip_suffix('\n').unwrap()).collect();
    let found = events(rules(Rule::Preset(preset)), &stream);
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
    // Whoever writes CRLF means the same.
    let found = events(rules(Rule::Preset(preset)), &stream.replace('\n', "\r\n"));
    let wanted: Vec<String> = wanted.iter().map(|event| event.replace('\n', "\r\n") + "\r").collect();
    assert_eq!(found, wanted);
}

#[test]
fn java_traces_are_one_event_each_and_ordinary_lines_stay_alone() {
    assert_as_marked(Preset::Java, JAVA);
    assert_as_marked(
        Preset::Java,
        "§Started\n§java.lang.Error\n\tat a.B.c(D.java:1)\n§10:00 ERROR x\njava.net.SocketException: y\n\tat z\n§server.port: 80\n\
         §10:01 INFO x\n§server.port: 80\n§a.b.Foo$BarException: 1\nWrapped by: x\n... 12 common frames omitted\n§Caused\n",
    );
}

#[test]
fn python_tracebacks_are_one_event_each_chained_or_grouped() {
    assert_as_marked(Preset::Python, PYTHON);
    assert_as_marked(
        Preset::Python,
        "§print\n§Traceback (most recent call last):\n  File\nE\n§print\n§Traceback (most recent call last):\n  File\n\
         §not an exception\n§Traceback (most recent call last):\n  File\na.b.<locals>.E: x\n\n§print\n",
    );
}

#[test]
fn go_panics_are_one_event_with_all_their_goroutines() {
    assert_as_marked(Preset::Go, GO);
}

#[test]
fn what_real_programs_printed_is_one_event_for_each_failure() {
    assert_as_marked(Preset::Java, include_str!("../../../tests/traces/java_17.0.15.txt"));
    assert_as_marked(Preset::Python, include_str!("../../../tests/traces/python_3.11.2.txt"));
    assert_as_marked(Preset::Go, include_str!("../../../tests/traces/go_1.19.8.txt"));
}

#[test]
fn each_kind_of_pattern_joins_as_it_says() {
    let text = "a 1\n b\n\nc\na 2\n";
    assert_eq!(events(start("^a"), text), ["a 1\n b\n\nc", "a 2"]);
    let pattern = |text| Pattern::compile(text).unwrap();
    assert_eq!(events(rules(Rule::Continue(pattern(r"^\s|^$"))), text), ["a 1\n b\n", "c", "a 2"]);
    assert_eq!(events(rules(Rule::End(pattern(r"\d$"))), text), ["a 1", " b\n\nc\na 2"]);
    assert_eq!(events(rules(Rule::End(pattern(";$"))), "x;\r\ny\nz;\nopen"), ["x;\r", "y\nz;", "open"]);
    assert_eq!(
        events(start("^a"), "before\na"),
        ["before", "a"],
        "what comes first is an event whatever it is"
    );
    assert_eq!(events(start("^a"), "a\nb"), ["a\nb"], "the last line needs no newline to belong");
}

#[test]
fn at_a_limit_an_event_goes_out_and_the_next_line_begins_another() {
    let limited = |max_lines, max_bytes| Rules { max_lines, max_bytes, ..start("^a") };
    assert_eq!(events(limited(2, 100), "a\nb\nc\nd\ne\n"), ["a\nb", "c\nd", "e"]);
    assert_eq!(events(limited(1, 100), "a\nb\n"), ["a", "b"]);
    assert_eq!(
        events(limited(9, 5), "a\nb\nc\nddd\ne\nlonger than 5\nf\n"),
        ["a\nb\nc", "ddd\ne", "longer than 5", "f"]
    );
    let framer = &mut EventFramer::new(Arc::new(limited(9, 100)), 4);
    let found = in_pieces(framer, b"a\nb\n12345678\nc\nd\n", &[3, 9, 11]);
    let events = [(&b"a\nb"[..], false), (b"1234", true), (b"c\nd", false)];
    assert_eq!(found, events.map(|(event, cut)| (event.to_vec(), cut)), "a line too long stands alone");
}

#[test]
fn an_event_that_waited_long_enough_ends_without_the_line_that_is_under_way() {
    let mut framer = EventFramer::new(Arc::new(start("^a")), 100);
    assert_eq!(framer.patience(), None);
    let mut at = 0;
    assert_eq!(framer.next_event(b"a\nb\n c", &mut at), None);
    assert_eq!((at, framer.patience()), (0, Some(Duration::from_secs(1))));
    let event = framer.end_open(b"a\nb\n c", &mut at).unwrap();
    assert_eq!((event.of(b"a\nb\n c"), at), (&b"a\nb"[..], 4));
    assert_eq!(framer.patience(), None, "a line under way is waited for as ever");
    let mut at = 0;
    assert_eq!(framer.next_event(b" c\na\n", &mut at).unwrap().len, 2);
}

#[test]
fn the_cr_at_the_end_of_an_event_goes_where_it_is_asked_to_and_those_inside_stay() {
    let framer = EventFramer::new(Arc::new(start("^a")), 100).strip_cr();
    let found = in_pieces(&mut framer.clone(), b"a\r\nb\r\na\r\nc\r", &[4]);
    assert_eq!(found, [(b"a\r\nb".to_vec(), false), (b"a\r\nc".to_vec(), false)]);
}

/// Each rule with how the oracle knows it: whether a line belongs behind those of its event, and whether it ends it.
type Known = (&'static str, fn() -> Rule, fn(&[u8]) -> bool, fn(&[u8]) -> bool);
const KNOWN: [Known; 3] = [
    (
        "start",
        || Rule::Start(Pattern::compile("^[a-f]").unwrap()),
        |line| !matches!(line, [b'a'..=b'f', ..]),
        |_| false,
    ),
    (
        "continue",
        || Rule::Continue(Pattern::compile(r"^[ \t]+").unwrap()),
        |line| matches!(line, [b' ' | b'\t', ..]),
        |_| false,
    ),
    ("end", || Rule::End(Pattern::compile(";$").unwrap()), |_| true, |line| line.ends_with(b";")),
];

fn assert_like_oracle(stream: &[u8], cuts: &[usize], max_line: usize, max_lines: usize, max_bytes: usize) {
    for (name, rule, belongs, ends) in KNOWN {
        let rules = Arc::new(Rules { rule: rule(), max_lines, max_bytes, timeout: Duration::ZERO });
        let found = in_pieces(&mut EventFramer::new(rules, max_line), stream, cuts);
        let limits = oracle::Limits { line: max_line, lines: max_lines, bytes: max_bytes };
        assert_eq!(found, oracle::events(stream, &limits, belongs, ends), "{name} of {stream:?}");
    }
}

#[test]
fn the_place_of_a_cut_never_matters() {
    let stream = b"a\n b\r\n\nc;\n\td\n0123456789\n e\n;\nf";
    for limits in [(100, 100, 100), (5, 100, 100), (100, 2, 100), (100, 100, 4), (4, 3, 7)] {
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                assert_like_oracle(stream, &[first, second], limits.0, limits.1, limits.2);
            }
        }
        assert_like_oracle(stream, &(0..stream.len()).collect::<Vec<_>>(), limits.0, limits.1, limits.2);
    }
}

#[test]
fn a_trace_can_be_cut_anywhere_and_read_again_from_any_of_its_events() {
    for (preset, text) in [(Preset::Java, JAVA), (Preset::Python, PYTHON), (Preset::Go, GO)] {
        let stream = text.replace('§', "");
        let framer = || EventFramer::new(Arc::new(rules(Rule::Preset(preset))), 1000);
        let whole = in_pieces(&mut framer(), stream.as_bytes(), &[]);
        for cut in 0..stream.len() {
            assert_eq!(in_pieces(&mut framer(), stream.as_bytes(), &[cut]), whole, "cut at {cut}");
        }
        let mut begin = 0;
        for (place, (event, _)) in whole.iter().enumerate() {
            let again = in_pieces(&mut framer(), &stream.as_bytes()[begin..], &[]);
            assert_eq!(again, whole[place..]);
            begin += event.len() + 1;
        }
    }
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces_gives_the_events_of_the_oracle(
        stream in prop::collection::vec(
            prop_oneof![3 => Just(b'\n'), 1 => Just(b' '), 1 => Just(b';'), 1 => Just(b'a'), 1 => Just(b'\r'), 2 => any::<u8>()],
            0..200,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        max_line in 1..30usize,
        max_lines in 1..6usize,
        max_bytes in 1..50usize,
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        assert_like_oracle(&stream, &cuts, max_line, max_lines, max_bytes);
    }
}
