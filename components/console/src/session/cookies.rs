//! The console's cookies. No script can read them, no other site's page can have them sent, and behind TLS they are sent
//! over TLS only: their names then begin with `__Host-`, and a browser accepts such a cookie neither from a subdomain nor
//! over plain HTTP.

use gha_slurm_edge::cookies::{Cookie, SameSite};
use gha_slurm_edge::request::Request;

#[derive(Debug, Clone, Copy)]
pub(super) struct Jar {
    pub(super) tls: bool,
}

impl Jar {
    /// The values of a request's session cookies.
    pub(super) fn session<'r>(&self, request: &'r Request) -> impl Iterator<Item = &'r str> {
        request.cookies(self.session_name())
    }

    /// What marks a browser that once logged in.
    pub(super) fn known<'r>(&self, request: &'r Request) -> Option<&'r str> {
        request.cookies(self.known_name()).next()
    }

    pub(super) fn set_session(&self, value: &str, seconds: u64) -> String {
        self.set(self.session_name(), value, seconds)
    }

    pub(super) fn set_known(&self, value: &str, seconds: u64) -> String {
        self.set(self.known_name(), value, seconds)
    }

    fn set(&self, name: &str, value: &str, seconds: u64) -> String {
        Cookie { name, value, path: "/", seconds, same_site: SameSite::Strict, secure: self.tls }.to_string()
    }

    fn session_name(&self) -> &'static str {
        if self.tls { "__Host-gha-slurm-session" } else { "gha-slurm-session" }
    }

    fn known_name(&self) -> &'static str {
        if self.tls { "__Host-gha-slurm-browser" } else { "gha-slurm-browser" }
    }
}
