//! Values that are worked out.

use super::oracle_value::Type;
use super::*;

/// What an expression gives for the entry that is `line`: its kind and what it reads as; `-` where it is missing, and
/// what is wrong behind a `!`.
fn given(expression: &str, line: &str) -> String {
    let expr = ValueExpr::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut block = block_of(&[line], true);
    block.stamp(1_795_428_000_250_000_000);
    let found = expr.find(&block, 0, |kind, bytes| format!("{kind:?} {}", String::from_utf8_lossy(bytes)));
    let stored = expr.store(&mut block, 0).map(|found| {
        found.map(|(slice, kind)| format!("{kind:?} {}", String::from_utf8_lossy(block.bytes(slice))))
    });
    assert_eq!(stored.clone().ok(), found.clone().ok(), "{expression}");
    match found {
        Ok(Some(text)) => text,
        Ok(None) => "-".into(),
        Err(Fault(what)) => format!("!{what}"),
    }
}

#[test]
fn functions_give_what_the_manual_says() {
    let line = r#"{"host":"Web-1","port":8080,"took":1500,"f":2.5,"path":"/api/v2/users","ip":"10.1.2.3",
        "six":"2001:db8::1","nil":null,"ok":true,"list":[1],"user":{"n":"Änn"},"e":"a\nb","big":18446744073709551615,
        "when":"2026-11-23T10:00:00Z","day":"23.11.2026 11:00","s":" x "}"#
        .replace("\n        ", "");
    for (expression, expected) in [
        ("lower(host) + ':' + port", "Plain web-1:8080"),
        ("took / 1000", "Number 1.5"),
        ("took * 2 - 1", "Number 2999"),
        ("took -1", "Number 1499"),
        ("(took + 500) % 300", "Number 200"),
        ("2 + 3 * 4", "Number 14"),
        ("10 - 3 - 2", "Number 5"),
        ("port", "Number 8080"),
        ("big", "Number 18446744073709551615"),
        ("if(ok == true, big, 0)", "Number 18446744073709551615"),
        ("user", "Json {\"n\":\"Änn\"}"),
        ("upper(user.n)", "Plain ÄNN"),
        ("e", "Plain a\nb"),
        ("nil", "Null null"),
        ("ok", "Bool true"),
        ("missing", "-"),
        ("lower(missing)", "-"),
        ("missing + 1", "-"),
        ("coalesce(missing, nil, 'x')", "Plain x"),
        ("coalesce(number(host), 7)", "Number 7"),
        ("coalesce(missing)", "-"),
        ("if(took > 1000, 'slow', 'fast')", "Plain slow"),
        ("if(exists missing, 1, took)", "Number 1500"),
        ("took > 1000 and ok == true", "Bool true"),
        ("in_cidr(ip, '192.168.0.0/16', '10.0.0.0/8')", "Bool true"),
        ("in_cidr(ip, '10.1.2.4')", "Bool false"),
        ("in_cidr(six, '2001:db8::/32')", "Bool true"),
        ("in_cidr('::ffff:10.1.2.3', '10.0.0.0/8')", "Bool true"),
        ("is_private(ip)", "Bool true"),
        ("is_private('8.8.8.8')", "Bool false"),
        ("ip_version(six)", "Number 6"),
        ("ip_mask(ip, 24)", "Plain 10.1.2.0"),
        ("ip_mask(six, 24, 16)", "Plain 2001::"),
        ("ip_mask(ip, 0)", "Plain 0.0.0.0"),
        ("in_cidr(host, '10.0.0.0/8')", "!the text is no IP address"),
        ("trim(s) + '|'", "Plain x|"),
        ("length(user.n)", "Number 3"),
        ("substr(host, 0, 3)", "Plain Web"),
        ("substr(host, -1)", "Plain 1"),
        ("substr(user.n, 1)", "Plain nn"),
        ("substr(host, 9, 2)", "Plain "),
        ("substr(host, 0, length(host) - 1)", "Plain Web-"),
        ("part(path, '/', 2)", "Plain v2"),
        ("part(path, '/', -1)", "Plain users"),
        ("part(path, '/', 0)", "Plain "),
        ("part(path, '/', 4)", "-"),
        ("replace(path, '/', '.')", "Plain .api.v2.users"),
        ("replace_pattern(path, '[0-9]+', 'N')", "Plain /api/vN/users"),
        ("replace_pattern(path, 'v([0-9])', 'N')", "Plain /api/vN/users"),
        ("extract(path, 'v([0-9]+)')", "Plain 2"),
        ("extract(path, 'v[0-9]+')", "Plain v2"),
        ("extract(path, 'x')", "-"),
        ("concat(port, '-', ok, nil)", "Plain 8080-truenull"),
        ("text(port) + 1", "Plain 80801"),
        ("number('1.50')", "Number 1.5"),
        ("number(host)", "!a number is needed where there is none"),
        ("int(f)", "Number 2"),
        ("round(f)", "Number 3"),
        ("round(took / 1234, 2)", "Number 1.22"),
        ("floor(0 - f)", "Number -3"),
        ("ceil(f)", "Number 3"),
        ("abs(0 - f)", "Number 2.5"),
        ("min(took, f, 3)", "Number 2.5"),
        ("max(took, f, 3)", "Number 1500"),
        ("took / 0", "!a division by zero"),
        ("host - 1", "!a number is needed where there is none"),
        ("crc32c('123456789')", "Number 3808858755"),
        ("fnv64('a')", "Plain af63dc4c8601ec8c"),
        ("sha256('abc')", "Plain ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "hmac_sha256('what do ya want for nothing?', 'Jefe')",
            "Plain 5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        ("now()", "Number 1795428000250000000"),
        ("timestamp()", "Number 1795428000250000000"),
        ("to_millis(now())", "Number 1795428000250"),
        ("to_seconds(now() - parse_time(when, 'rfc3339'))", "Number 0.25"),
        ("parse_time(day, '%d.%m.%Y %H:%M', 'Europe/Berlin')", "Number 1795428000000000000"),
        ("parse_time(host, 'rfc3339')", "!the text is no time of this format"),
        ("format_time(now(), 'rfc3339')", "Plain 2026-11-23T10:00:00.25Z"),
        ("format_time(now(), '%d.%m.%Y %H:%M', 'Europe/Berlin')", "Plain 23.11.2026 11:00"),
        ("format_time(from_seconds(0), 'clf')", "Plain 01/Jan/1970:00:00:00 +0000"),
        ("format_time(now(), 'rfc3339', 'Europe/Berlin')", "Plain 2026-11-23T11:00:00.25+01:00"),
        ("from_millis(1.5)", "Number 1500000"),
        ("is_text(host)", "Bool true"),
        ("is_number(host)", "Bool false"),
        ("is_null(nil)", "Bool true"),
        ("is_list(list)", "Bool true"),
        ("is_object(user)", "Bool true"),
        ("is_bool(missing)", "Bool false"),
        ("is_ip(six)", "Bool true"),
        ("template('{labels.app}-{fields.host}-{fields.none}|{source}')", "Plain shop-Web-1-|edge"),
        ("labels.app + '/' + source", "Plain shop/edge"),
        ("'a' + 1 + 2", "Plain a12"),
        ("1 + 2 + 'a'", "Plain 3a"),
    ] {
        assert_eq!(given(expression, &line), expected, "{expression}");
    }
}

#[test]
fn conditions_ask_what_is_worked_out() {
    let members = [
        ("took", "1500", Kind::Number),
        ("limit", "1.5e3", Kind::Number),
        ("said", "1500", Kind::Plain),
        ("host", "Web", Kind::Plain),
        ("ip", "10.1.2.3", Kind::Plain),
        ("none", "null", Kind::Null),
        ("yes", "true", Kind::Bool),
    ];
    for condition in [
        "lower(host) == 'web' and lower(host) != 'Web'",
        "took / 1000 > 1 and took / 1000 == 1.5 and took > 1000 + 1",
        "took == fields.limit and took >= fields.said and not took < fields.limit * 1",
        "host == labels.app or host == fields.host",
        "in_cidr(ip, '10.0.0.0/8') and not in_cidr(host, '10.0.0.0/8') and not is_private(none)",
        "contains(lower(host), 'we') and starts_with(upper(host), 'WEB') and ends_with(host + '!', '!')",
        "lower(host) in ['web', 'x'] and length(host) in [3] and lower(host) =~ '^w'",
        "none == fields.none and yes == fields.yes and yes != fields.none and missing != fields.host",
        "if(took > 1, 'a', 'b') == 'a' and (took + 1) * 2 == 3002",
        "length(message) == 5 and is_number(took) and not is_number(host)",
        "number(said) + 1 == 1501 and said == 1500",
        "host < fields.ip == false or host > fields.ip",
    ] {
        if condition.contains("== false") {
            assert!(Expr::compile(condition).is_err(), "one comparison at a time: {condition}");
            continue;
        }
        assert!(holds(condition, &members), "{condition}");
        assert!(!holds(&format!("not ({condition})"), &members), "{condition}");
    }
    // What cannot be worked out fails every test, and so the negated ones hold.
    for condition in ["took / 0 == 1", "number(host) > 0", "lower(missing) == 'x'"] {
        assert!(!holds(condition, &members) && holds(&format!("not {condition}"), &members), "{condition}");
    }
    assert!(holds("took / 0 != 1 and lower(missing) !~ '.'", &members));
}

#[test]
fn mistakes_in_values_are_named_at_their_place() {
    for (expression, part, hint) in [
        ("lower(host", "", "`)` is missing"),
        ("lower()", ")", "`lower` takes one: `lower(host)`"),
        ("lower(a, b)", ",", "`lower` takes one"),
        ("substr(a)", ")", "takes two or three"),
        ("lowr(a)", "lowr", "did you mean `lower`?"),
        ("frobnicate(a)", "frobnicate", "there are abs, ceil"),
        ("abs('x')", "'x'", "`number(...)` reads one"),
        ("'x' - 1", "'x' - 1", "numbers are needed"),
        ("(a == 1) + 1", "(a == 1) + 1", "`if(CONDITION, 1, 0)`"),
        ("lower(a == 1)", "a == 1", "`lower` takes text"),
        ("if(a, 1, 2)", "a", "alone is no condition"),
        ("if(a == 1, 2)", ")", "takes three"),
        ("a b", "b", "an operator such as `+` is missing"),
        ("x-y", "x-y", "put spaces around the `-`"),
        ("x-1", "x-1", "put spaces around the `-`"),
        ("1+2", "1+2", "operators stand between spaces"),
        ("a +", "", "ends where a field is expected"),
        ("in_cidr(a, '10.0.0.1/8')", "'10.0.0.1/8'", "the network is `10.0.0.0/8`"),
        ("in_cidr(a, '10.0.0.0/33')", "'10.0.0.0/33'", "more than 32 bits"),
        ("in_cidr(a, 'x')", "'x'", "`10.0.0.0/8` or"),
        ("in_cidr(a)", ")", "two or more"),
        ("ip_mask(a, 33)", "33", "from 0 to 32"),
        ("part(a, '', 1)", "''", "empty text"),
        ("extract(a, '(')", "'('", "unclosed group"),
        ("parse_time(a, 'rfc')", "'rfc'", "expected one of rfc3339"),
        ("parse_time(a, 'rfc3339', 'Mars')", "'Mars'", "`Europe/Berlin`"),
        ("format_time(a, 'unix')", "'unix'", "see `to_seconds`"),
        ("template('{x}')", "'{x}'", "unknown placeholder"),
        ("1e999", "1e999", "too large"),
        ("lower(a) == 5", "5", "or with what `number(...)` reads"),
        ("length(a) == 'x'", "'x'", "compare with one"),
        ("(a == 1) < 2", "<", "one comparison at a time"),
        ("a < fields.b == 1", "==", "one comparison at a time"),
        ("a > limit", "limit", "`fields.limit`"),
        ("a not", "not", "`not` stands where"),
    ] {
        let error = match ValueExpr::compile(expression) {
            Ok(_) => panic!("{expression} compiles"),
            Err(error) => error,
        };
        if expression != "a not" {
            assert_eq!(&expression[error.start..error.start + error.len], part, "{expression}: {error}");
            assert!(error.message.contains(hint), "{expression}: {error}");
        }
    }
    let many = vec!["a"; 130].join(" + ");
    assert!(ValueExpr::compile(&many).unwrap_err().message.contains("more than 128 operators"));
    let deep = format!("{}a{}", "lower(".repeat(64), ")".repeat(64));
    assert!(ValueExpr::compile(&deep).unwrap_err().message.contains("64 levels"));
}

#[test]
fn a_result_that_is_too_long_is_refused_before_it_is_made() {
    let line = "a".repeat(200_000);
    assert_eq!(given("length(message + 'x')", &line), "Number 200001");
    for expression in
        ["message + message", "replace(message, 'a', 'bbbb')", "replace_pattern(message, 'a', 'bb')"]
    {
        assert_eq!(given(expression, &line), "!the result is longer than 256KiB", "{expression}");
    }
    let long = format!("template('{}')", "{fields.message}{source}".repeat(2));
    let block_line = format!("{{\"message\":\"{line}\"}}");
    assert_eq!(given(&long, &block_line), "!the result is longer than 256KiB");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn values_come_to_what_a_naive_interpreter_makes_of_them(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut choices = Choices(&bytes);
        let calc = choices.calc(4, Type::Any);
        let entries: Vec<_> = (0..3).map(|_| choices.entry()).collect();
        let lines: Vec<&str> = entries.iter().map(|entry| &*entry.line).collect();
        let block = block_of(&lines, true);
        let text = calc.show();
        prop_assume!(text.len() <= LEN_MAX);
        let expr = ValueExpr::compile(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for (at, entry) in entries.iter().enumerate() {
            let ours = expr.find(&block, at, |_, bytes| String::from_utf8_lossy(bytes).into_owned());
            let theirs = calc.find(entry).map(|found| found.map(|value| value.text()));
            prop_assert_eq!(ours.ok(), theirs.ok(), "{} of {}", &text, &entry.line);
        }
    }
}
