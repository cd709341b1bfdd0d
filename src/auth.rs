//! Who may send, and as whom we send: HTTP basic (RFC 7617) and bearer (RFC 6750) authentication.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Credentials, as a client shows them and a server wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A name and a password.
    Basic {
        /// The name; has no `:`.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

/// The keys of `auth:`, all optional so that halves can be told from wholes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    username: Option<String>,
    password: Option<Secret>,
    bearer: Option<Secret>,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let says = D::Error::custom::<&str>;
        match Keys::deserialize(deserializer)? {
            Keys { username: Some(username), password: Some(password), bearer: None } => {
                if username.is_empty() || username.contains(':') || username.contains(char::is_control) {
                    return Err(says("`username` must have a character, and no `:` or control character"));
                }
                Ok(Auth::Basic { username, password })
            }
            Keys { username: None, password: None, bearer: Some(token) } => match token.expose() {
                text if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Auth::Bearer(token)),
                _ => Err(says("the `bearer` token must be of printable ASCII characters without blanks")),
            },
            // Half an `auth` would be none: better not to start.
            Keys { username: Some(_), password: None, .. } => {
                Err(says("`password` is missing beside `username`"))
            }
            Keys { username: None, password: Some(_), .. } => {
                Err(says("`username` is missing beside `password`"))
            }
            Keys { bearer: Some(_), .. } => {
                Err(says("either `username` and `password` or `bearer`, not both"))
            }
            _ => Err(says("needs `username` and `password`, or `bearer`")),
        }
    }
}

impl Auth {
    /// The value of the `Authorization` header that shows these credentials.
    pub fn header(&self) -> Secret {
        Secret::new(match self {
            Auth::Basic { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())))
            }
            Auth::Bearer(token) => format!("Bearer {}", token.expose()),
        })
    }

    /// Whether the value of an `Authorization` header shows these credentials. How long it takes tells nothing of them.
    pub fn admits(&self, header: Option<&[u8]>) -> bool {
        // The scheme's name is not case sensitive (RFC 9110, 11.1) and no secret.
        let Some((scheme, shown)) =
            header.and_then(|header| header.split_at_checked(header.iter().position(|b| *b == b' ')?))
        else {
            return false;
        };
        let shown = shown.trim_ascii();
        match self {
            Auth::Bearer(token) => scheme.eq_ignore_ascii_case(b"bearer") && token.is(shown),
            Auth::Basic { username, password } => {
                scheme.eq_ignore_ascii_case(b"basic")
                    && STANDARD.decode(shown).is_ok_and(|shown| {
                        Secret::new(format!("{username}:{}", password.expose())).is(&shown)
                    })
            }
        }
    }

    /// What a server answers with in `WWW-Authenticate` when it was shown nothing, or something else.
    pub fn challenge(&self) -> &'static str {
        match self {
            Auth::Basic { .. } => "Basic realm=\"ringmain\", charset=\"UTF-8\"",
            Auth::Bearer(_) => "Bearer realm=\"ringmain\"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Auth, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_one_side_shows_the_other_admits() {
        for text in [r#"{"username":"ann","password":"p:w"}"#, r#"{"bearer":"t0ken"}"#] {
            let auth = read(text).unwrap();
            let header = auth.header();
            assert!(auth.admits(Some(header.expose().as_bytes())));
            let wrong = format!("{}x", header.expose());
            for wrong in [None, Some(&b""[..]), Some(b"Basic"), Some(b"Bearer "), Some(wrong.as_bytes())] {
                assert!(!auth.admits(wrong), "{wrong:?}");
            }
            assert!(!format!("{auth:?}").contains("t0ken") && !format!("{auth:?}").contains("p:w"));
        }
        let basic = read(r#"{"username":"Aladdin","password":"open sesame"}"#).unwrap();
        assert_eq!(basic.header().expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "the example of RFC 7617");
    }

    #[test]
    fn halves_of_an_auth_are_refused_and_say_what_is_missing() {
        for (text, says) in [
            (r#"{"username":"ann"}"#, "`password` is missing"),
            (r#"{"password":"x"}"#, "`username` is missing"),
            (r#"{}"#, "needs `username` and `password`, or `bearer`"),
            (r#"{"username":"a","password":"b","bearer":"c"}"#, "not both"),
            (r#"{"username":"a:b","password":"b"}"#, "no `:`"),
            (r#"{"bearer":""}"#, "is empty"),
            (r#"{"bearer":"a b"}"#, "printable"),
        ] {
            assert!(read(text).unwrap_err().contains(says), "{text}: {:?}", read(text));
        }
    }
}
