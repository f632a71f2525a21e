//! Whose request it is: the connection's address, or what a proxy says that the operator named.
//!
//! `X-Forwarded-For` is a header like any other, so whoever sends it can write into it what he likes. It is believed only
//! where the connection comes from a trusted proxy, and read from its end: the last address that is no trusted proxy is
//! the client. From anybody else all headers of this kind are removed, so that a component can rely on what it finds.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;
pub use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// With all `x-forwarded-…`: what tells of the way of a request.
const OTHERS: [HeaderName; 2] = [HeaderName::from_static("forwarded"), HeaderName::from_static("x-real-ip")];

/// The proxies that may say whose request they pass on.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// A network as `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Result<IpNet, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| "must be an address or a network such as 10.0.0.0/8".to_owned())
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address, and no header left that says otherwise. Its port is 0 where only a proxy knows it.
    pub(super) fn client(&self, peer: SocketAddr, headers: &mut HeaderMap) -> SocketAddr {
        if !self.contains(peer.ip()) {
            let foreign = |name: &&HeaderName| name.as_str().starts_with("x-forwarded-") || OTHERS.contains(name);
            for name in headers.keys().filter(foreign).cloned().collect::<Vec<_>>() {
                headers.remove(name);
            }
            return peer;
        }
        let client = self.forwarded(headers);
        headers.remove(FORWARDED_FOR);
        for name in OTHERS {
            headers.remove(name);
        }
        client.map_or(peer, |client| SocketAddr::new(client, 0))
    }

    /// What the trusted proxies said: the last address that is none of them, or the first one if each is.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        let mut client = None;
        for part in values.iter().flat_map(|value| value.split(',')).rev() {
            // What stands before something malformed was not written by a proxy of ours.
            let Some(address) = address(part.trim()) else { break };
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// An address, as proxies write it: some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> (String, HeaderMap) {
        let networks = trusted.iter().map(|text| TrustedProxies::parse(text).unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let address = TrustedProxies::new(networks).client(peer.parse().unwrap(), &mut map);
        (address.to_string(), map)
    }

    #[test]
    fn a_strangers_word_about_his_address_is_removed() {
        let forged = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("x-real-ip", "192.0.2.1")];
        for trusted in [&[][..], &["10.0.0.0/8"]] {
            let (address, headers) = client(trusted, "203.0.113.5:4000", &forged);
            assert_eq!((address.as_str(), headers.len()), ("203.0.113.5:4000", 0));
        }
        let (_, headers) = client(&[], "203.0.113.5:4000", &[("x-forwarded-proto", "https"), ("accept", "*/*")]);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_trusted_proxy_says_who_the_client_is() {
        for (chain, expected) in [
            ("192.0.2.1", "192.0.2.1:0"),
            // The client wrote the first one.
            ("198.51.100.9, 192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1, 10.1.2.3", "192.0.2.1:0"),
            ("10.1.2.3", "10.1.2.3:0"),
            ("192.0.2.1:555", "192.0.2.1:0"),
            ("[2001:db8::1]:555", "[2001:db8::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("192.0.2.1, unknown, 10.1.2.3", "10.1.2.3:0"),
            ("", "10.0.0.1:4000"),
            ("garbage", "10.0.0.1:4000"),
        ] {
            let (address, headers) = client(&["10.0.0.0/8"], "10.0.0.1:4000", &[("x-forwarded-for", chain)]);
            assert_eq!(address, expected, "{chain}");
            assert!(!headers.contains_key(FORWARDED_FOR));
        }
        let several = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1:4000", &several).0, "192.0.2.1:0");
        let (_, headers) = client(&["10.0.0.1"], "[::ffff:10.0.0.1]:4000", &[("x-forwarded-proto", "https")]);
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        for good in ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"] {
            assert!(TrustedProxies::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "proxy.example", "10.0.0"] {
            assert!(TrustedProxies::parse(bad).is_err(), "{bad}");
        }
    }
}
