//! Which of a host's addresses is tried first: the rules of RFC 6724, section 6, that do not need
//! more than the address itself and the one that we would speak from.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The best first; else as they came.
pub(super) fn best_first(
    mut addresses: Vec<IpAddr>,
    source_for: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<IpAddr> {
    addresses.sort_by_cached_key(|address| {
        let source = source_for(*address);
        let with = |same: fn(IpAddr) -> u8| source.is_some_and(|source| same(source) == same(*address));
        // Rules 1, 2, 5 and 6.
        Reverse((source.is_some(), with(scope), with(label), precedence(*address)))
    });
    addresses
}

/// The address that we would speak from; `None`: no way leads there. Nothing is sent.
pub(super) fn source_for(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    socket.local_addr().ok().map(|source| source.ip())
}

/// As RFC 4291, section 2.7, numbers scopes: of the link, or of the world.
fn scope(address: IpAddr) -> u8 {
    let local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
    };
    if local { 2 } else { 14 }
}

/// The table of RFC 6724, section 2.1: prefix, its length, precedence, label.
const POLICY: [(Ipv6Addr, u32, u8, u8); 6] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 40, 1),
];

fn policy(address: IpAddr) -> (u8, u8) {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let found = POLICY
        .iter()
        .find(|(prefix, length, ..)| (bits ^ prefix.to_bits()).checked_shr(128 - length).unwrap_or(0) == 0);
    found.map_or((40, 1), |(_, _, precedence, label)| (*precedence, *label))
}

fn precedence(address: IpAddr) -> u8 {
    policy(address).0
}

fn label(address: IpAddr) -> u8 {
    policy(address).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which addresses are tried from these of ours.
    fn tried(addresses: &[&str], ours: &[&str]) -> Vec<String> {
        let ours: Vec<IpAddr> = ours.iter().map(|address| address.parse().unwrap()).collect();
        let source = |to: IpAddr| ours.iter().find(|from| from.is_ipv4() == to.is_ipv4()).copied();
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        best_first(addresses, source).iter().map(ToString::to_string).collect()
    }

    /// The examples of RFC 6724, section 10.2, that these rules decide.
    #[test]
    fn what_cannot_be_reached_comes_last_and_ipv6_before_ipv4() {
        let both = ["198.51.100.121", "2001:db8:1::1"];
        assert_eq!(tried(&both, &["2001:db8:1::2", "198.51.100.117"]), ["2001:db8:1::1", "198.51.100.121"]);
        assert_eq!(tried(&["2001:db8:1::1", "198.51.100.121"], &["198.51.100.117"]), both);
        let link_only = ["fe80::1", "198.51.100.117"];
        assert_eq!(tried(&["2001:db8:1::1", "198.51.100.121"], &link_only), both, "another scope");
        let private = ["fd00::2", "10.0.0.2"];
        assert_eq!(tried(&["2001:db8:1::1", "198.51.100.121"], &private), both, "another label");
        assert_eq!(tried(&["192.0.2.2", "192.0.2.1"], &["192.0.2.9"]), ["192.0.2.2", "192.0.2.1"]);
    }

    #[test]
    fn this_machine_reaches_itself() {
        assert_eq!(source_for(Ipv4Addr::LOCALHOST.into()), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
