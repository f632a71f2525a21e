//! Cookies: how they are read from a request, and how they are set. No script can read them.

use std::fmt;

use crate::request::Request;

/// Ours are shorter.
const MAX_VALUE_BYTES: usize = 128;
/// Other applications on the host may set cookies of the same name; only so many are looked at.
const MAX_SAME: usize = 4;

/// Which requests from other sites' pages a browser sends the cookie with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Links only: for a page that another site leads back to.
    Lax,
}

/// A cookie to be set; its text is the value of `Set-Cookie`.
#[derive(Debug, Clone, Copy)]
pub struct Cookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// The path below which the browser sends it.
    pub path: &'a str,
    /// How long the browser keeps it; 0 deletes it.
    pub seconds: u64,
    /// With which requests it is sent.
    pub same_site: SameSite,
    /// Whether it is sent over TLS only.
    pub secure: bool,
}

impl fmt::Display for Cookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, path, seconds, same_site, secure } = self;
        let secure = if *secure { "; Secure" } else { "" };
        write!(f, "{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site:?}{secure}")
    }
}

impl Request {
    /// The values of the cookies of that name.
    pub fn cookies<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case("cookie"))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(';'))
            .filter_map(move |pair| pair.trim().split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
            .filter(|value| value.len() <= MAX_VALUE_BYTES)
            .take(MAX_SAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_a_name_are_found_in_all_headers_and_long_ones_are_left_out() {
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let long = format!("b={}", "x".repeat(MAX_VALUE_BYTES + 1));
        let headers = vec![header("Cookie", "a=1; b=2;b=3"), header("cookie", &long), header("cookie", "b=4; c; ab=5")];
        let request = Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() };
        assert_eq!(request.cookies("b").collect::<Vec<_>>(), ["2", "3", "4"]);
        assert_eq!(request.cookies("c").count(), 0);
    }

    #[test]
    fn a_cookie_says_how_long_and_where_it_is_sent() {
        let cookie = Cookie { name: "n", value: "v", path: "/p", seconds: 60, same_site: SameSite::Lax, secure: true };
        assert_eq!(cookie.to_string(), "n=v; Path=/p; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        let strict = Cookie { same_site: SameSite::Strict, secure: false, ..cookie };
        assert_eq!(strict.to_string(), "n=v; Path=/p; Max-Age=60; HttpOnly; SameSite=Strict");
    }
}
