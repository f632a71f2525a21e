//! `allowed_outbound_hosts`: where one component may go.

use url::{Host, Url};

use crate::host::manifest::ManifestError;
use crate::host::variables::VariableError;

/// The hosts that one component may reach.
#[derive(Debug, Default)]
pub struct AllowedHosts(Vec<Allowed>);

#[derive(Debug, PartialEq)]
struct Allowed {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, PartialEq)]
enum HostPattern {
    Any,
    Exact(String),
    Under(String),
}

impl AllowedHosts {
    /// Reads the entries of `allowed_outbound_hosts`. A malformed entry is an error when it stands in the manifest; when
    /// it comes from a variable it allows nothing, and the application says what is wrong with its variable.
    pub fn resolve(
        component: &str,
        entries: &[String],
        render: impl Fn(&str) -> Result<String, VariableError>,
    ) -> Result<Self, ManifestError> {
        let mut allowed = Vec::new();
        for entry in entries {
            let templated = entry.contains("{{");
            let parsed = render(entry).map_err(|error| error.to_string()).and_then(|text| Allowed::parse(&text));
            match parsed {
                Ok(host) => allowed.push(host),
                Err(why) if templated => tracing::warn!(component, "allowed_outbound_hosts {entry}: {why}"),
                Err(why) => {
                    let (component, entry) = (component.to_owned(), entry.clone());
                    return Err(ManifestError::AllowedHost { component, entry, why });
                }
            }
        }
        Ok(Self(allowed))
    }

    pub(super) fn allows(&self, uri: &hyper::Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
        let port = uri.port_u16().or_else(|| default_port(scheme));
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        self.0.iter().any(|allowed| {
            allowed.scheme.as_deref().is_none_or(|only| only == scheme)
                && (allowed.port.is_none() || allowed.port == port)
                && match &allowed.host {
                    HostPattern::Any => true,
                    HostPattern::Exact(only) => *only == host,
                    HostPattern::Under(domain) => host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.')),
                }
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Allowed {
    /// `scheme://host[:port]`, each part possibly `*`, the host possibly `*.domain`.
    fn parse(entry: &str) -> Result<Self, String> {
        let form = || "it must be scheme://host or scheme://host:port".to_owned();
        let (scheme, rest) = entry.trim().split_once("://").ok_or_else(form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err("a path is not allowed".to_owned());
        }
        if scheme != "*" && default_port(scheme).is_none() {
            return Err(format!("the scheme {scheme} is not supported by this host"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = match port {
            Some("*") => None,
            Some(number) => Some(number.parse().map_err(|_| form())?),
            None => default_port(scheme),
        };
        let host = match host {
            "*" => HostPattern::Any,
            _ => match host.strip_prefix("*.") {
                Some(domain) => HostPattern::Under(exact(domain).ok_or_else(form)?),
                None => HostPattern::Exact(exact(host).ok_or_else(form)?),
            },
        };
        Ok(Self { scheme: (scheme != "*").then(|| scheme.to_owned()), host, port })
    }
}

fn exact(host: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{host}")).ok()?;
    let plain = url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.port().is_none();
    match url.host()? {
        _ if !plain => None,
        Host::Ipv6(address) => Some(address.to_string()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, uri: &str) -> bool {
        let hosts = AllowedHosts::resolve("x", &[entry.to_owned()], |text| Ok(text.to_owned())).unwrap();
        hosts.allows(&uri.parse().unwrap())
    }

    #[test]
    fn only_the_scheme_host_and_port_of_an_entry_are_reached() {
        for (entry, uri, expected) in [
            ("https://a.example", "https://a.example/x", true),
            ("https://a.example/", "https://A.example:443/x", true),
            ("https://a.example", "http://a.example/x", false),
            ("https://a.example", "https://a.example:8443/", false),
            ("https://a.example", "https://a.example.evil/", false),
            ("https://a.example", "https://ba.example/", false),
            ("http://127.0.0.1:81", "http://127.0.0.1:81/", true),
            ("http://127.0.0.1:81", "http://127.0.0.1/", false),
            ("http://[::1]:81", "http://[::1]:81/", true),
            ("https://*.example", "https://a.example/", true),
            ("https://*.example", "https://example/", false),
            ("https://*.example", "https://bexample/", false),
            ("*://*:*", "http://anything:9/", true),
            ("https://*", "https://anything/", true),
        ] {
            assert_eq!(allows(entry, uri), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn a_malformed_entry_is_an_error_and_from_a_variable_it_allows_nothing() {
        for bad in ["a.example", "https://a/x", "https://", "ftp://a", "https://a:b", "https://u@a", "self"] {
            let entry = [bad.to_owned()];
            assert!(AllowedHosts::resolve("x", &entry, |text| Ok(text.to_owned())).is_err(), "{bad}");
            let hosts = AllowedHosts::resolve("x", &["{{ v }}".to_owned()], |_| Ok(bad.to_owned())).unwrap();
            assert!(!hosts.allows(&"https://a/".parse().unwrap()), "{bad}");
        }
    }
}
