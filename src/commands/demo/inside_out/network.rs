//! What a network consists of, as the kernel tells it in `/proc/self/net`, which is always that of the process's own
//! namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The kernel's number of a TCP socket's state.
const LISTEN: &str = "0A";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Network {
    pub(super) interfaces: Vec<String>,
    /// Where somebody takes TCP connections.
    pub(super) listening: Vec<SocketAddr>,
}

impl Network {
    /// That of this process; without IPv6 where the kernel has none.
    pub(super) fn here() -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/self/net/{name}");
            std::fs::read_to_string(&path).context(path)
        };
        Ok(Self::parse(&read("dev")?, &[&read("tcp")?, &read("tcp6").unwrap_or_default()]))
    }

    fn parse(devices: &str, sockets: &[&str]) -> Self {
        // Two lines of headings.
        let interfaces = devices.lines().skip(2).filter_map(|line| line.split_once(':'));
        let interfaces = interfaces.map(|(name, _)| name.trim().to_owned()).collect();
        let mut listening: Vec<SocketAddr> = sockets.iter().flat_map(|text| text.lines()).filter_map(listens).collect();
        listening.sort_unstable();
        Self { interfaces, listening }
    }

    /// Whether nothing leads into it from elsewhere.
    pub(super) fn is_loopback_only(&self) -> bool {
        self.interfaces == ["lo"]
    }
}

/// The address of a line of `/proc/net/tcp` that tells of a listening socket.
fn listens(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (ip, port) = local.split_once(':').filter(|_| state == LISTEN)?;
    Some(SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?))
}

/// In words of 32 bits, each printed as the number that its bytes are on this machine.
fn address(hexadecimal: &str) -> Option<IpAddr> {
    let word = |start: usize| {
        let digits = hexadecimal.get(start..start + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hexadecimal.len() {
        8 => word(0).map(|bytes| Ipv4Addr::from(bytes).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            <[u8; 16]>::try_from(words).ok().map(|bytes| Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "Inter-|   Receive  |  Transmit
 face |bytes    packets errs |bytes
    lo:  940  10    0    940  10
  eth0: 1000  20    0   1000  20
";
    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";

    #[test]
    #[cfg(target_endian = "little")]
    fn interfaces_and_what_listens_are_read() {
        let v4 = format!(
            "{HEADING}\n   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000\n   1: 0100007F:9C40 0100007F:0BB8 01 0:0\n"
        );
        let v6 =
            format!("{HEADING}\n 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A\n");
        let network = Network::parse(DEVICES, &[&v4, &v6]);
        let listening: Vec<SocketAddr> = ["127.0.0.1:3000", "[::1]:22"].map(|text| text.parse().unwrap()).into();
        assert_eq!(network, Network { interfaces: vec!["lo".to_owned(), "eth0".to_owned()], listening });
        assert!(!network.is_loopback_only());
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let nonsense = "x\n 0: zz:0BB8 0:0 0A\n 0: 0100007F 0:0 0A\n 0: 0100007F:0BB8\n 0: ÄÄÄÄ:1 0:0 0A\n";
        assert_eq!(Network::parse("", &[nonsense]), Network { interfaces: vec![], listening: vec![] });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_of_this_process_is_among_those_that_listen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Network::here().unwrap().listening.contains(&listener.local_addr().unwrap()));
    }
}
