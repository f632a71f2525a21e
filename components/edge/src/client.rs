//! The address that a request comes from.
//!
//! The connection's own address, unless a proxy made the connection that the variable `trusted_proxies` names: then the
//! nearest address in `X-Forwarded-For` that is no such proxy's. From anybody else that header says what its sender likes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use gha_slurm_core::ports::Variables;
use gha_slurm_core::settings::{SettingError, Settings};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::request::Request;

/// Longer lists are cut: each proxy adds one address.
const MOST_HOPS: usize = 32;

/// Who sent a request, as far as addresses tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: Option<IpAddr>,
    /// Whether the connection's peer says that it forwards for others, and is not trusted to say for whom. Those are
    /// counted apart from the peer itself, so that they cannot keep it out.
    forwarded: bool,
}

impl Client {
    /// The sender of a request.
    pub fn of(platform: &impl Variables, request: &Request) -> Result<Self, SettingError> {
        Ok(Self::behind(&Settings(platform).trusted_proxies()?, request))
    }

    fn behind(trusted: &[IpNet], request: &Request) -> Self {
        // The last one is Spin's, which passes on what the sender may have put there.
        let peer = request.headers.iter().rfind(|(name, _)| name.eq_ignore_ascii_case("spin-client-addr"));
        let peer = peer.and_then(|(_, peer)| std::str::from_utf8(peer).ok()?.parse::<SocketAddr>().ok());
        let Some(mut address) = peer.map(|peer| peer.ip().to_canonical()) else {
            return Self { address: None, forwarded: false };
        };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        // A request may carry the header several times, which is one list.
        let lists = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
        let lists = lists.map(|(_, list)| std::str::from_utf8(list).unwrap_or_default()).collect::<Vec<_>>();
        let mut hops = lists.iter().rev().flat_map(|list| list.rsplit(',')).take(MOST_HOPS);
        while is_trusted(address) {
            match hops.next().map(|hop| parse_hop(hop.trim())) {
                Some(Some(hop)) => address = hop,
                // What a trusted proxy passes on, but did not write itself.
                Some(None) => return Self { address: Some(address), forwarded: true },
                None => return Self { address: Some(address), forwarded: false },
            }
        }
        let from_peer = peer.is_some_and(|peer| peer.ip().to_canonical() == address);
        Self { address: Some(address), forwarded: from_peer && !lists.is_empty() }
    }

    /// What tells it apart from others: its address, or its network where addresses are plenty.
    pub(crate) fn digest(&self) -> [u8; 8] {
        let address = match self.address {
            // A subscriber has at least a /64, and all addresses in it.
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)).to_string()
            }
            Some(address) => address.to_string(),
            None => String::new(),
        };
        let hash: [u8; 32] = Sha256::digest(format!("{address} {}", self.forwarded)).into();
        let mut digest = [0; 8];
        digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        digest
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) if self.forwarded => write!(f, "{address} (forwarded, and not in trusted_proxies)"),
            Some(address) => write!(f, "{address}"),
            None => f.write_str("unknown"),
        }
    }
}

/// An address, with or without a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    Some(address.or_else(bracketed)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, headers: &[(&str, &str)]) -> String {
        let trusted: Vec<IpNet> = trusted.split_whitespace().map(|network| network.parse().unwrap()).collect();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let request = Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() };
        Client::behind(&trusted, &request).to_string()
    }

    const PEER: (&str, &str) = ("spin-client-addr", "10.0.0.1:4711");

    #[test]
    fn nobody_is_believed_who_is_not_named() {
        let forwarded = ("x-forwarded-for", "192.0.2.7");
        assert_eq!(client("", &[PEER]), "10.0.0.1");
        assert!(client("", &[PEER, forwarded]).starts_with("10.0.0.1 (forwarded"));
        assert!(client("10.0.1.0/24", &[PEER, forwarded]).starts_with("10.0.0.1 (forwarded"));
        assert_eq!(client("", &[forwarded]), "unknown");
    }

    #[test]
    fn what_the_sender_says_of_itself_before_spin_does_counts_for_nothing() {
        assert_eq!(client("", &[("spin-client-addr", "192.0.2.7:1"), PEER]), "10.0.0.1");
        assert_eq!(client("", &[PEER, ("Spin-Client-Addr", "garbage")]), "unknown");
    }

    #[test]
    fn a_named_proxy_tells_for_whom_and_no_further() {
        let of = |list: &str| client("10.0.0.0/8 fd00::/8", &[PEER, ("X-Forwarded-For", list)]);
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("203.0.113.1, 192.0.2.7"), "192.0.2.7", "what came before it is the client's word");
        assert_eq!(of("192.0.2.7, 10.9.9.9"), "192.0.2.7", "two proxies, both named");
        assert_eq!(of("192.0.2.7:5555"), "192.0.2.7");
        assert_eq!(of("[2001:db8::7]:5555, fd00::1"), "2001:db8::7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert!(of("192.0.2.7, garbage").starts_with("10.0.0.1 (forwarded"));
        let two = [PEER, ("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(client("10.0.0.0/8", &two), "192.0.2.7");
        assert_eq!(client("10.0.0.0/8", &[PEER]), "10.0.0.1", "the proxy itself");
        assert_eq!(
            client("::1/128", &[("spin-client-addr", "[::1]:4711"), ("x-forwarded-for", "192.0.2.7")]),
            "192.0.2.7"
        );
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client_and_the_forwarded_are_not_the_peer() {
        let digest = |address: &str, forwarded| Client { address: address.parse().ok(), forwarded }.digest();
        assert_eq!(digest("2001:db8::1", false), digest("2001:db8::ffff:1", false));
        assert_ne!(digest("2001:db8::1", false), digest("2001:db8:0:1::1", false));
        assert_ne!(digest("192.0.2.7", false), digest("192.0.2.8", false));
        assert_ne!(digest("192.0.2.7", false), digest("192.0.2.7", true));
    }
}
