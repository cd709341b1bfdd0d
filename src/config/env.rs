//! `${VAR}` and `${VAR:-default}` in values.
//!
//! This happens after parsing, so a variable can never add keys or break the structure of the file. `$$` stands for
//! one dollar sign; a dollar sign before anything but `{` or `$` is itself.

use std::ops::Range;

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The new value.
    pub text: String,
    /// Whether the value was one substitution and nothing else.
    pub whole: bool,
}

/// Why a substitution is impossible.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The bytes of the value that are at fault.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub label: String,
}

/// Replaces all variables of `value`; `None` when there is nothing to replace.
pub fn substitute(value: &str, lookup: Lookup) -> Result<Option<Replaced>, Refused> {
    if !value.contains("$$") && !value.contains("${") {
        return Ok(None);
    }
    let (mut text, mut at, mut substitutions, mut literal) = (String::new(), 0, 0, false);
    while let Some(found) = value[at..].find('$') {
        let dollar = at + found;
        literal |= found > 0;
        text.push_str(&value[at..dollar]);
        let rest = &value[dollar + 1..];
        if rest.starts_with('{') {
            at = variable(value, dollar, lookup, &mut text)?;
            substitutions += 1;
        } else {
            text.push('$');
            literal = true;
            at = dollar + if rest.starts_with('$') { 2 } else { 1 };
        }
    }
    literal |= at < value.len();
    text.push_str(&value[at..]);
    Ok(Some(Replaced { text, whole: substitutions == 1 && !literal }))
}

/// Appends the value of the variable whose `${` starts at `dollar`; returns the byte after its `}`.
fn variable(value: &str, dollar: usize, lookup: Lookup, text: &mut String) -> Result<usize, Refused> {
    let inside = dollar + 2;
    let Some(length) = value[inside..].find('}') else {
        return Err(Refused {
            at: dollar..value.len(),
            message: "`${` without its `}`".into(),
            label: "write `$$` for a dollar sign itself".into(),
        });
    };
    let (whole, end) = (&value[inside..inside + length], inside + length + 1);
    let (name, default) = match whole.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (whole, None),
    };
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !valid {
        return Err(Refused {
            at: dollar..end,
            message: format!("`{name}` is not the name of a variable"),
            label: "expected `${NAME}` or `${NAME:-default}`".into(),
        });
    }
    // As in a shell, `:-` also stands in for a variable that is set to nothing.
    match (lookup(name), default) {
        (Some(found), Some(default)) if found.is_empty() => text.push_str(default),
        (Some(found), _) => text.push_str(&found),
        (None, Some(default)) => text.push_str(default),
        (None, None) => {
            return Err(Refused {
                at: dollar..end,
                message: format!("the environment variable `{name}` is not set"),
                label: format!("set it, or give it a default: `${{{name}:-default}}`"),
            });
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "N" => Some("100".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".into()),
            "LINES" => Some("a\nb: \"c\"".into()),
            _ => None,
        }
    }

    fn replaced(value: &str) -> Option<(String, bool)> {
        substitute(value, &environment).unwrap().map(|done| (done.text, done.whole))
    }

    #[test]
    fn variables_defaults_and_escapes_are_replaced() {
        let cases = [
            ("${A}", "one", true),
            ("x${A}y", "xoney", false),
            ("${A}${N}", "one100", false),
            ("${NO:-7}", "7", true),
            ("${NO:-}", "", true),
            ("${EMPTY:-7}", "7", true),
            ("${EMPTY}", "", true),
            ("${NO:-a:-b}", "a:-b", true),
            ("$${A}", "${A}", false),
            ("a$$", "a$", false),
            ("$$${N}", "$100", false),
            ("${NESTED}", "${A}", true),
            ("${LINES}", "a\nb: \"c\"", true),
            ("ä${A}ö", "äoneö", false),
        ];
        for (value, text, whole) in cases {
            assert_eq!(replaced(value), Some((text.into(), whole)), "{value}");
        }
    }

    #[test]
    fn a_value_without_variables_stays_as_it_is() {
        for value in ["", "plain", "cost: 5$", "$A", "^a$", "{}"] {
            assert_eq!(replaced(value), None, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_pointed_at() {
        let cases =
            [("a${NO}b", 1..6, "not set"), ("${A", 0..3, "without its"), ("x ${9}", 2..6, "not the name")];
        for (value, at, message) in cases {
            let refused = substitute(value, &environment).unwrap_err();
            assert_eq!(refused.at, at, "{value}");
            assert!(refused.message.contains(message), "{}", refused.message);
        }
        assert!(substitute("${}", &environment).is_err() && substitute("${a b}", &environment).is_err());
    }
}
