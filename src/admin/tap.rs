//! `/tap`: what a tap has seen since it was last asked, as JSON lines; asking opens it, and not asking closes it.

use super::Inside;
use crate::expr::Expr;
use crate::tap::{Point, Seen, Wish};
use std::borrow::Cow;

/// Entries per second where nothing else is asked for.
const RATE: u64 = 100;
/// Longest name a client may have for itself.
const ID_MAX: usize = 64;

/// The answer to a query such as `id=x&at=sink:out&where=level%20%3D%3D%20%22error%22&rate=10`: the entries a line each, and
/// a last line that says how many were shown and how many not.
///
/// Errors: what is wrong with the query, or why there can be no such tap, in words.
pub fn answer(query: &str, inside: &dyn Inside) -> Result<Vec<u8>, String> {
    let Seen { mut lines, shown, skipped } = inside.tap(wish(query)?)?;
    lines.extend_from_slice(format!("{{\"tap\":{{\"shown\":{shown},\"skipped\":{skipped}}}}}\n").as_bytes());
    Ok(lines)
}

fn wish(query: &str) -> Result<Wish, String> {
    let (mut id, mut point, mut filter, mut rate) = (String::new(), None, None, RATE);
    for (name, value) in query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        let value = decoded(value).ok_or_else(|| format!("`{name}` is not percent-encoded UTF-8"))?;
        match name {
            "id" if value.len() <= ID_MAX => id = value.into_owned(),
            "id" => return Err(format!("`id` may have {ID_MAX} bytes")),
            "at" => point = Some(Point::parse(&value)?),
            "where" => {
                let compiled = Expr::compile(&value);
                filter =
                    Some(compiled.map_err(|error| format!("`where`, at byte {}: {error}", error.start))?);
            }
            "rate" => {
                rate = value
                    .parse()
                    .map_err(|_| format!("`rate` is a number of entries per second, not `{value}`"))?
            }
            _ => return Err(format!("`{name}` is not known: there are `id`, `at`, `where` and `rate`")),
        }
    }
    let point =
        point.ok_or("where to look is missing: `at=source:NAME`, `at=step:PIPELINE/1` or `at=sink:NAME`")?;
    Ok(Wish { id, point, filter, rate })
}

/// Percent-encoding undone (RFC 3986, 2.1); `None` if it is none, or not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let (mut bytes, mut out) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_where_to_look_and_at_what() {
        let wish = wish("id=me&at=step%3Aparse/2&where=level+%3D%3D%20%22error%22&rate=7").unwrap();
        assert_eq!((wish.id.as_str(), wish.point, wish.rate), ("me", Point::Step("parse".into(), 2), 7));
        assert!(wish.filter.is_some());
    }

    #[test]
    fn a_wrong_query_is_told_what_would_be_right() {
        for (query, says) in [
            ("", "`at=source:NAME`"),
            ("at=x", "expected"),
            ("at=sink:a&rate=fast", "number of entries"),
            ("at=sink:a&where=a%20=", "at byte"),
            ("at=sink:a&where=%zz", "percent-encoded"),
            ("at=sink:a&limit=1", "`limit` is not known"),
        ] {
            let error = wish(query).err().unwrap_or_default();
            assert!(error.contains(says), "{query}: {error}");
        }
    }
}
