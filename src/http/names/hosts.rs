//! `/etc/hosts` (hosts(5)), and the names of this machine that need no file (RFC 6761, section 6.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::foreign_file;

/// Lists of unwanted hosts get this large.
const LARGEST: usize = 32 * 1024 * 1024;

/// The addresses of a name that no server is asked for.
pub(super) fn of_system(host: &str) -> Option<Vec<IpAddr>> {
    let text = foreign_file::read(Path::new("/etc/hosts"), LARGEST).ok();
    let text = text.as_ref().map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
    let found = in_file(&text, host);
    if found.is_empty() { of_this_machine(host) } else { Some(found) }
}

fn in_file(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        if !words.any(|name| name.eq_ignore_ascii_case(host)) {
            continue;
        }
        // A zone (`fe80::1%eth0`) is not the business of who asks for the host.
        if let Ok(address) = address.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Security: `localhost` of a server of names could be anywhere.
fn of_this_machine(host: &str) -> Option<Vec<IpAddr>> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (host == "localhost" || host.ends_with(".localhost"))
        .then(|| vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let text = "# 192.0.2.9 vault.example\n\n192.0.2.1\tvault.example vault # primary\n\
                    2001:db8::1 Vault.Example\n192.0.2.1 vault\nnonsense vault.example\n127.0.0.1 localhost\n";
        let addresses = |host| in_file(text, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(addresses("vault.example"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(addresses("VAULT.example."), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(addresses("vault"), ["192.0.2.1"]);
        assert_eq!(addresses("primary"), [""; 0], "it stands in a comment");
        assert_eq!(addresses("example"), [""; 0]);
    }

    #[test]
    fn this_machine_needs_no_server() {
        let here: Vec<IpAddr> = vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        for name in ["localhost", "LOCALHOST.", "vault.localhost"] {
            assert_eq!(of_this_machine(name), Some(here.clone()), "{name}");
        }
        assert_eq!(of_this_machine("localhost.example"), None);
        assert_eq!(of_this_machine("notlocalhost"), None);
    }
}
