//! Where requests go: checked when the config is read.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use ureq::http::Uri;
use ureq::http::uri::{PathAndQuery, Scheme};

/// An absolute `http` or `https` URL without credentials. Shown without its query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Reads a URL.
    ///
    /// Errors: what is wrong with it and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = |what: &str| format!("expected a URL such as `https://logs.example.com/in`: {what}");
        if text.contains('#') {
            return Err(expected("a `#` and what follows it are never sent"));
        }
        let (scheme, _) =
            text.split_once("://").ok_or_else(|| expected("this has no `http://` or `https://`"))?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(expected("the scheme must be `http` or `https`"));
        }
        let uri: Uri = text.parse().map_err(|error| expected(&format!("{error}")))?;
        let Some(authority) = uri.authority() else { return Err(expected("this has no host")) };
        if authority.as_str().contains('@') {
            return Err(expected("credentials do not belong in a URL, use `auth`"));
        }
        if authority.host().is_empty() {
            return Err(expected("this has no host"));
        }
        let ends_in_port = authority.as_str().len() == authority.host().len();
        match authority.port_u16() {
            None if ends_in_port => {}
            Some(1..) => {}
            _ => return Err(expected("the port must be a number from 1 to 65535")),
        }
        Ok(Url(uri))
    }

    /// It, to be sent to.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is to be reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether it can be a proxy: plain `http`, no path, no query.
    pub fn is_proxy(&self) -> bool {
        !self.is_tls() && self.0.path() == "/" && self.0.query().is_none()
    }

    /// The same with `path` behind its own path, unless that ends in it already.
    pub fn with_path(&self, path: &str) -> Url {
        let own = self.0.path().trim_end_matches('/');
        if own.ends_with(path) {
            return self.clone();
        }
        let query = self.0.query().map_or(String::new(), |query| format!("?{query}"));
        let mut parts = self.0.clone().into_parts();
        let joined: Result<PathAndQuery, _> = format!("{own}{path}{query}").parse();
        let Ok(joined) = joined else { return self.clone() };
        parts.path_and_query = Some(joined);
        Uri::from_parts(parts).map_or_else(|_| self.clone(), Url)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let query = if self.0.query().is_some() { "?(hidden)" } else { "" };
        write!(f, "{scheme}://{authority}{}{query}", self.0.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (text, says) in [
            ("loki:3100", "no `http://`"),
            ("ftp://host/", "must be `http` or `https`"),
            ("http://", ""),
            ("http:///path", ""),
            ("http://ann:secret@host/", "use `auth`"),
            ("http://host:0/", "port"),
            ("http://host:99999/", ""),
            ("http://host:/", "port"),
            ("http://ho st/", ""),
            ("https://host/#top", "never sent"),
            ("", "no `http://`"),
        ] {
            let error = Url::parse(text).expect_err(text);
            assert!(error.starts_with("expected a URL such as") && error.contains(says), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_query_and_grows_a_path_once() {
        let url = Url::parse("HTTPS://host:8080/base/?token=secret").unwrap();
        assert!(url.is_tls() && !url.is_proxy());
        assert_eq!(url.to_string(), "https://host:8080/base/?(hidden)");
        let push = url.with_path("/loki/api/v1/push");
        assert_eq!(push.uri().to_string(), "https://host:8080/base/loki/api/v1/push?token=secret");
        assert_eq!(push.with_path("/loki/api/v1/push"), push);
        let bare = Url::parse("http://[::1]:3100").unwrap();
        assert_eq!(bare.with_path("/p").to_string(), "http://[::1]:3100/p");
        assert!(bare.is_proxy());
    }
}
