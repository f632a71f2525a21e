//! The console's cookies. A script cannot read them, no other site's page can have them sent, and behind TLS they go over
//! TLS alone: then their names begin with `__Host-`, under which a browser takes no cookie from a subdomain or from plain
//! HTTP.

use gha_slurm_edge::request::Request;

const SESSION: &str = "gha-slurm-session";
/// That this browser once logged in.
const KNOWN: &str = "gha-slurm-browser";
/// Ours are shorter than 128 bytes.
const MAX_VALUE_BYTES: usize = 128;
/// Other applications of the host may set cookies under the same name; so many of ours are looked at.
const MAX_SAME: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Jar {
    pub(super) tls: bool,
}

impl Jar {
    /// The values of a request's session cookies.
    pub(super) fn session<'r>(&self, request: &'r Request) -> impl Iterator<Item = &'r str> {
        self.values(request, SESSION)
    }

    /// What marks a browser that once logged in.
    pub(super) fn known<'r>(&self, request: &'r Request) -> Option<&'r str> {
        self.values(request, KNOWN).next()
    }

    pub(super) fn set_session(&self, value: &str, seconds: u64) -> String {
        self.set(SESSION, value, seconds)
    }

    pub(super) fn set_known(&self, value: &str, seconds: u64) -> String {
        self.set(KNOWN, value, seconds)
    }

    fn set(&self, name: &str, value: &str, seconds: u64) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.full(name))
    }

    fn full(&self, name: &str) -> String {
        if self.tls { format!("__Host-{name}") } else { name.to_owned() }
    }

    fn values<'r>(&self, request: &'r Request, name: &str) -> impl Iterator<Item = &'r str> {
        let name = self.full(name);
        request
            .headers
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
