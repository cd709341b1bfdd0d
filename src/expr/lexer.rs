//! Text to tokens, each with its place.

use super::ExprError;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    pub kind: Kind<'a>,
    pub start: usize,
    pub len: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'a> {
    /// A bare name or keyword.
    Word(&'a str),
    /// A name in backticks.
    Name(&'a str),
    Text(String),
    Number(&'a str),
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Dot,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    End,
}

impl Token<'_> {
    /// An error about this token.
    pub fn error(&self, message: impl Into<String>) -> ExprError {
        ExprError { message: message.into(), start: self.start, len: self.len }
    }
}

/// The token that begins at `start` or behind the space there.
pub fn next(text: &str, start: usize) -> Result<Token<'_>, ExprError> {
    let rest = text[start..].trim_start();
    let start = text.len() - rest.len();
    let token = |kind, len| Token { kind, start, len };
    let Some(first) = rest.chars().next() else {
        return Ok(token(Kind::End, 0));
    };
    Ok(match first {
        '(' => token(Kind::Open, 1),
        ')' => token(Kind::Close, 1),
        '[' => token(Kind::OpenList, 1),
        ']' => token(Kind::CloseList, 1),
        ',' => token(Kind::Comma, 1),
        '.' => token(Kind::Dot, 1),
        '+' => token(Kind::Plus, 1),
        '*' => token(Kind::Star, 1),
        '/' => token(Kind::Slash, 1),
        '%' => token(Kind::Percent, 1),
        // With letters or digits right behind it, it is the sign of a number, or stands in a name.
        '-' if !rest[1..].starts_with(|next: char| {
            next.is_ascii_alphanumeric() || matches!(next, '.' | '+' | '-' | '_')
        }) =>
        {
            token(Kind::Minus, 1)
        }
        '"' | '\'' => {
            let (value, len) = quoted(rest, first, start)?;
            token(Kind::Text(value), len)
        }
        '`' => match rest[1..].split_once('`') {
            Some((name, _)) => token(Kind::Name(name), name.len() + 2),
            None => return Err(token(Kind::End, rest.len()).error("this name lacks its closing backtick")),
        },
        '-' | '0'..='9' => {
            let len = length(rest, |letter| {
                letter.is_ascii_alphanumeric() || matches!(letter, '.' | '+' | '-' | '_')
            });
            token(Kind::Number(&rest[..len]), len)
        }
        letter if letter.is_ascii_alphabetic() || letter == '_' => {
            let len = length(rest, |letter| letter.is_ascii_alphanumeric() || letter == '_');
            token(Kind::Word(&rest[..len]), len)
        }
        '=' | '!' | '<' | '>' | '&' | '|' | '~' => return operator(rest, start),
        other => {
            let hint = format!("`{other}` means nothing here; a name with such letters stands in backticks");
            return Err(token(Kind::End, other.len_utf8()).error(hint));
        }
    })
}

fn length(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|letter| !belongs(letter)).unwrap_or(rest.len())
}

/// A comparison, or a hint for who is used to another language.
fn operator(rest: &str, start: usize) -> Result<Token<'_>, ExprError> {
    let len = length(rest, |letter| "=!<>&|~".contains(letter));
    let token = |kind| Token { kind, start, len };
    let hint = match &rest[..len] {
        "==" => return Ok(token(Kind::Equal)),
        "!=" => return Ok(token(Kind::Unequal)),
        "<" => return Ok(token(Kind::Less)),
        "<=" => return Ok(token(Kind::LessOrEqual)),
        ">" => return Ok(token(Kind::Greater)),
        ">=" => return Ok(token(Kind::GreaterOrEqual)),
        "=~" => return Ok(token(Kind::Matches)),
        "!~" => return Ok(token(Kind::MatchesNot)),
        "=" | "===" => "did you mean `==`?",
        "!==" | "<>" | "=!" => "did you mean `!=`?",
        "=<" => "did you mean `<=`?",
        "=>" => "did you mean `>=`?",
        "~" | "~=" | "==~" => "did you mean `=~`?",
        "&&" | "&" => "did you mean `and`?",
        "||" | "|" => "did you mean `or`?",
        "!" => "did you mean `not`?",
        _ => "there are `==`, `!=`, `<`, `<=`, `>`, `>=`, `=~` and `!~`",
    };
    Err(token(Kind::End).error(format!("unknown operator `{}`: {hint}", &rest[..len])))
}

/// The text in quotes that `rest` begins with, and how long it is written.
fn quoted(rest: &str, quote: char, start: usize) -> Result<(String, usize), ExprError> {
    let error = |at: usize, len: usize, message: String| ExprError { message, start: start + at, len };
    let mut value = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Ok((value, at + 1));
        }
        if letter != '\\' {
            value.push(letter);
            continue;
        }
        value.push(match letters.next() {
            Some((_, same @ ('\\' | '"' | '\''))) => same,
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            Some((_, 'u')) => {
                let digits = rest.get(at + 2..at + 6).filter(|digits| digits.bytes().all(|one| one.is_ascii_hexdigit()));
                let letter = digits.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
                let Some(letter) = letter else {
                    let message = "`\\u` needs four hexadecimal digits of a character, as in `\\u00e9`".to_owned();
                    return Err(error(at, 2, message));
                };
                letters.nth(3);
                letter
            }
            Some((_, other)) => {
                let message = format!(
                    "unknown escape `\\{other}`: there are `\\\\`, `\\\"`, `\\'`, `\\n`, `\\r`, `\\t` and `\\u00e9`"
                );
                return Err(error(at, 1 + other.len_utf8(), message));
            }
            None => break,
        });
    }
    Err(error(0, rest.len(), format!("this text lacks its closing {quote}")))
}
