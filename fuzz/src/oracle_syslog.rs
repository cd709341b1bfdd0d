//! A syslog parser that is slow and obviously right: it splits strings (one `char` per byte) and counts years one by
//! one. It knows zones of a fixed offset only.

/// What a message must be found to say.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub pri: u8,
    pub format: &'static str,
    pub timestamp: Option<i64>,
    pub host: Option<Vec<u8>>,
    pub app: Option<Vec<u8>>,
    pub procid: Option<Vec<u8>>,
    pub msgid: Option<Vec<u8>>,
    /// SD-ID, name, value as written, value.
    pub params: Vec<[Vec<u8>; 4]>,
    pub message: Vec<u8>,
}

/// Reads `message` as received at `now_ns` in a zone `offset` seconds east of UTC.
pub fn parse(message: &[u8], now_ns: i64, offset: i64) -> Expected {
    let text: String = message.iter().map(|&b| char::from(b)).collect();
    let Some((pri, rest)) = priority(&text) else {
        // A line of a file has none, and is told by what else it has.
        let expected = parse_3164(13, &text, now_ns, offset);
        let is_line = expected.timestamp.is_some() && expected.app.is_some();
        return if is_line { expected } else { bare(13, "plain", &text) };
    };
    if let Some(expected) = parse_5424(pri, rest) {
        return expected;
    }
    parse_3164(pri, rest, now_ns, offset)
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

fn bare(pri: u8, format: &'static str, text: &str) -> Expected {
    Expected {
        pri,
        format,
        timestamp: None,
        host: None,
        app: None,
        procid: None,
        msgid: None,
        params: Vec::new(),
        message: bytes(text),
    }
}

fn priority(text: &str) -> Option<(u8, &str)> {
    (0..=191u8).find_map(|pri| Some((pri, text.strip_prefix(&format!("<{pri}>"))?)))
}

fn parse_5424(pri: u8, rest: &str) -> Option<Expected> {
    let parts: Vec<&str> = rest.splitn(7, ' ').collect();
    let &["1", timestamp, host, app, procid, msgid, rest] = &parts[..] else { return None };
    let tokens = [timestamp, host, app, procid, msgid];
    if tokens.contains(&"") {
        return None;
    }
    let given = |token: &str| (token != "-").then(|| bytes(token));
    let (params, text) = match structured_data(rest) {
        Some((params, behind)) => (params, behind.strip_prefix("\u{ef}\u{bb}\u{bf}").unwrap_or(behind)),
        None => (Vec::new(), rest),
    };
    Some(Expected {
        timestamp: rfc3339(timestamp),
        host: given(host),
        app: given(app),
        procid: given(procid),
        msgid: given(msgid),
        params,
        ..bare(pri, "5424", text)
    })
}

/// All parameters, and the text behind the blank.
fn structured_data(text: &str) -> Option<(Vec<[Vec<u8>; 4]>, &str)> {
    let behind_blank = |rest: &'_ str| rest.is_empty() || rest.starts_with(' ');
    if let Some(rest) = text.strip_prefix('-') {
        return behind_blank(rest).then(|| (Vec::new(), rest.strip_prefix(' ').unwrap_or("")));
    }
    let mut params = Vec::new();
    let mut rest = text;
    if !rest.starts_with('[') {
        return None;
    }
    while let Some(element) = rest.strip_prefix('[') {
        let id_end = element.find(['=', ' ', ']', '"'])?;
        let id = &element[..id_end];
        rest = &element[id_end..];
        while let Some(param) = rest.strip_prefix(' ') {
            let (name, behind) = param.split_once("=\"")?;
            if name.is_empty() || name.contains(['=', ' ', ']', '"']) {
                return None;
            }
            // One character at a time: what is written, and what it means.
            let (mut raw, mut value, mut chars) = (String::new(), String::new(), behind.chars());
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => {
                        let next = chars.next()?;
                        raw.extend(['\\', next]);
                        if !['"', '\\', ']'].contains(&next) {
                            value.push('\\');
                        }
                        value.push(next);
                    }
                    c => {
                        raw.push(c);
                        value.push(c);
                    }
                }
            }
            params.push([bytes(id), bytes(name), bytes(&raw), bytes(&value)]);
            rest = chars.as_str();
        }
        rest = rest.strip_prefix(']')?;
        if id.is_empty() {
            return None;
        }
    }
    behind_blank(rest).then(|| (params, rest.strip_prefix(' ').unwrap_or("")))
}

fn parse_3164(pri: u8, rest: &str, now_ns: i64, offset: i64) -> Expected {
    let mut expected = bare(pri, "3164", rest);
    let mut rest = rest;
    let stamped = rest
        .split_once(' ')
        .and_then(|(word, behind)| Some((rfc3339(word)?, behind)))
        .or_else(|| bsd_timestamp(rest, now_ns, offset));
    if let Some((timestamp, behind)) = stamped {
        expected.timestamp = Some(timestamp);
        rest = behind;
        let repeated =
            ["", "--- "].iter().any(|dashes| rest.starts_with(&format!("{dashes}last message repeated ")));
        if let Some((host, behind)) = rest.split_once(' ')
            && !repeated
            && tag(host).is_none()
            && !host.is_empty()
        {
            expected.host = Some(bytes(host));
            rest = behind;
        }
    }
    let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    if let Some((name, pid)) = tag(word) {
        expected.app = Some(bytes(name));
        expected.procid = pid.map(bytes);
        rest = behind;
    }
    expected.message = bytes(rest);
    expected
}

fn tag(word: &str) -> Option<(&str, Option<&str>)> {
    if word.chars().count() > 128 {
        return None;
    }
    let name = word.strip_suffix(':');
    let (name, pid) = match name.unwrap_or(word).strip_suffix(']') {
        Some(bracketed) => {
            let (name, pid) = bracketed.rsplit_once('[')?;
            (name, Some(pid).filter(|pid| !pid.is_empty()))
        }
        None => (name?, None),
    };
    (!name.is_empty()).then_some((name, pid))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn bsd_timestamp(text: &str, now_ns: i64, offset: i64) -> Option<(i64, &str)> {
    let (month, rest) = text.split_once(' ')?;
    let month = 1 + MONTHS.iter().position(|&name| name == month)? as i64;
    let (day, rest) = match rest.strip_prefix(' ') {
        Some(padded) => padded.split_once(' ').filter(|(day, _)| day.len() == 1)?,
        None => rest.split_once(' ').filter(|(day, _)| day.len() <= 2)?,
    };
    let day = number(day)?;
    let year_word = |text: &'_ str| -> Option<(i64, usize)> {
        let (word, _) = text.split_once(' ')?;
        let year = number(word).filter(|year| word.len() == 4 && (1970..2200).contains(year))?;
        Some((year, 5))
    };
    let (mut year, skip) = year_word(rest).map_or((None, 0), |(year, skip)| (Some(year), skip));
    let (time, mut rest) = rest[skip..].split_once(' ')?;
    let (second, nanos) = time_of_day(time.strip_suffix(':').unwrap_or(time))?;
    if year.is_none()
        && !time.ends_with(':')
        && let Some((trailing, skip)) = year_word(rest)
    {
        year = Some(trailing);
        rest = &rest[skip..];
    }
    let local = |year| Some(days(year, month, day)? * 86_400 + second);
    let seconds = match year {
        Some(year) => local(year)?,
        None => {
            let latest = now_ns.div_euclid(1_000_000_000) + offset + 86_400;
            (1600..2300).rev().filter_map(local).find(|&seconds| seconds <= latest)?
        }
    };
    Some(((seconds - offset).checked_mul(1_000_000_000)?.checked_add(nanos)?, rest))
}

/// RFC 3339, as nanoseconds since 1970.
pub fn rfc3339(text: &str) -> Option<i64> {
    if text.len() < 20 || !text.is_ascii() {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let time = rest.strip_prefix(['T', 't'])?;
    let date: Vec<&str> = date.split('-').collect();
    let [year, month, day] = date[..] else { return None };
    if [year.len(), month.len(), day.len()] != [4, 2, 2] {
        return None;
    }
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let (second, nanos) = time_of_day(time)?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            if [hours.len(), minutes.len()] != [2, 2] {
                return None;
            }
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if zone.starts_with('-') { -60 } else { 60 }
        }
    };
    let seconds = days(number(year)?, number(month)?, number(day)?)? * 86_400 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// `hh:mm:ss` with or without a fraction: seconds and nanoseconds.
fn time_of_day(text: &str) -> Option<(i64, i64)> {
    let (time, nanos) = match text.split_once('.') {
        Some((_, fraction)) if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) => {
            return None;
        }
        Some((time, fraction)) => (time, number(&format!("{fraction:0<9}")[..9])?),
        None => (text, 0),
    };
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = parts[..] else { return None };
    if parts.iter().any(|part| part.len() != 2) {
        return None;
    }
    let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
    (hour < 24 && minute < 60 && second < 60).then_some(((hour * 60 + minute) * 60 + second, nanos))
}

fn number(digits: &str) -> Option<i64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Days since 1970-01-01, counted.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=12).contains(&month) || day < 1 || day > lengths[month as usize - 1] {
        return None;
    }
    let length = |year| if leap(year) { 366 } else { 365 };
    let years: i64 =
        if year >= 1970 { (1970..year).map(length).sum() } else { -(year..1970).map(length).sum::<i64>() };
    Some(years + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1)
}
