//! Whose entries a request brings: the `X-Scope-OrgID` header.
//!
//! The rules are Loki's own (<https://grafana.com/docs/mimir/latest/configure/about-tenant-ids/>), so a tenant taken here
//! is one that Loki takes. What breaks them is refused, not mended: two tenants must never become one.

/// The header's name.
pub const TENANT_HEADER: &str = "x-scope-orgid";
/// Longest tenant, in bytes.
pub const TENANT_MAX: usize = 150;

/// Reads the value of the header.
///
/// Errors: what is wrong with it and what would be right.
pub fn tenant(header: Option<&[u8]>) -> Result<Option<&str>, &'static str> {
    const FORM: &str =
        "X-Scope-OrgID must be of 1 to 150 letters, digits and !-_.*'() and neither `.` nor `..`";
    let Some(value) = header.map(<[u8]>::trim_ascii) else { return Ok(None) };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(byte);
    let whole = (1..=TENANT_MAX).contains(&value.len()) && value.iter().all(allowed);
    match std::str::from_utf8(value) {
        Ok(name) if whole && name != "." && name != ".." => Ok(Some(name)),
        _ => Err(FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_what_loki_takes_for_one() {
        assert_eq!(tenant(None), Ok(None));
        for name in ["team-a", " 1 ", "a.b_c!*'()", &"x".repeat(150)] {
            assert_eq!(tenant(Some(name.as_bytes())), Ok(Some(name.trim())));
        }
        for name in [
            "",
            " ",
            ".",
            "..",
            "../x",
            "a/b",
            "a|b",
            "a b",
            "a\nb",
            "a\r\nX-B: c",
            "a\"b",
            "a%2fb",
            "\u{e9}",
            "a\\b",
            "a\0b",
        ] {
            assert!(tenant(Some(name.as_bytes())).unwrap_err().contains("1 to 150 letters"), "{name:?}");
        }
        assert!(tenant(Some(&[b'x'; 151])).is_err());
        assert!(tenant(Some(b"\xff")).is_err());
    }
}
