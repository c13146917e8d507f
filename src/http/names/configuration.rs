//! `/etc/resolv.conf` (resolv.conf(5)): which servers are asked, for which names, how patiently.
//! What the environment says beside it (`LOCALDOMAIN`, `RES_OPTIONS`) does not count: a kubeconfig
//! could have set it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use crate::foreign_file;

const LARGEST: usize = 64 * 1024;
const PORT: u16 = 53;
/// The C library asks no more.
const MOST_SERVERS: usize = 3;

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    /// In the order in which they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that a short name may be of.
    pub(super) search: Vec<String>,
    /// With so many dots a name is tried as it stands first.
    pub(super) dots: usize,
    /// How long one server is waited for.
    pub(super) wait: Duration,
    /// How often each is asked.
    pub(super) attempts: u32,
    /// Not always the first server first.
    pub(super) rotate: bool,
    /// Never by datagram.
    pub(super) streams_only: bool,
    /// Nothing here speaks IPv6.
    pub(super) no_ipv6: bool,
}

impl Configuration {
    /// What the system says; the server on this machine where it says nothing.
    pub(super) fn of_system() -> Self {
        let text = foreign_file::read(Path::new("/etc/resolv.conf"), LARGEST).ok();
        let text = text.as_ref().map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
        Self::parse(&text, own_domain)
    }

    /// `own_domain` is the domain of this machine's name, which counts where no other is given.
    fn parse(text: &str, own_domain: impl FnOnce() -> Option<String>) -> Self {
        let mut this = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            wait: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            streams_only: false,
            no_ipv6: false,
        };
        let mut search = None;
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => this.servers.extend(words.next().and_then(server)),
                // The last line counts, whichever of the two it is.
                Some("domain") => search = Some(words.next().into_iter().map(domain).collect()),
                Some("search") => search = Some(words.map(domain).collect()),
                Some("options") => words.for_each(|word| this.option(word)),
                _ => {}
            }
        }
        this.servers.truncate(MOST_SERVERS);
        if this.servers.is_empty() {
            this.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        this.search = search.unwrap_or_else(|| own_domain().into_iter().collect());
        this
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(number)) => self.dots = number.min(15) as usize,
            ("timeout", Some(number)) => self.wait = Duration::from_secs(number.clamp(1, 30).into()),
            ("attempts", Some(number)) => self.attempts = number.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.streams_only = true,
            ("no-aaaa", _) => self.no_ipv6 = true,
            _ => {}
        }
    }

    /// The names that are asked for in turn.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let beneath = self.search.iter().filter(|domain| !domain.is_empty());
        let mut candidates: Vec<String> = beneath.map(|domain| format!("{name}.{domain}")).collect();
        let at = if name.matches('.').count() >= self.dots { 0 } else { candidates.len() };
        candidates.insert(at, name.to_owned());
        candidates
    }
}

fn domain(word: &str) -> String {
    word.trim_end_matches('.').to_owned()
}

/// An address, perhaps with the interface that it is behind (RFC 4007, section 11).
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, PORT));
    }
    let (address, zone) = word.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = match zone.parse() {
        Ok(number) => number,
        // Security: a name with a slash in it would lead anywhere.
        Err(_) if zone.contains('/') || zone.starts_with('.') => return None,
        Err(_) => {
            let index = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?;
            index.trim().parse().ok()?
        }
    };
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

fn own_domain() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    name.trim().split_once('.').map(|(_, domain)| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_the_c_library_reads_it() {
        let text = "# nameserver 192.0.2.9\n; and this\nnameserver 192.0.2.1\nnameserver fe80::53%7\n\
                    nameserver nonsense\nnameserver 2001:db8::53 # the third\nnameserver 192.0.2.4\n\
                    domain overruled.example\nsearch Corp.example. eu.corp.example\n\
                    options ndots:5 timeout:1 attempts:9 rotate edns0 use-vc\noptions no-aaaa\n";
        let read = Configuration::parse(text, || Some("own.example".to_owned()));
        assert_eq!(
            read.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1:53", "[fe80::53%7]:53", "[2001:db8::53]:53"]
        );
        assert_eq!(read.search, ["Corp.example", "eu.corp.example"]);
        assert_eq!((read.dots, read.wait, read.attempts), (5, Duration::from_secs(1), 5));
        assert!(read.rotate && read.streams_only && read.no_ipv6);
    }

    #[test]
    fn without_a_file_this_machine_is_asked() {
        let read = Configuration::parse("", || Some("own.example".to_owned()));
        assert_eq!(read.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(read.search, ["own.example"]);
        assert_eq!((read.dots, read.wait, read.attempts), (1, Duration::from_secs(5), 2));
    }

    #[test]
    fn a_short_name_is_looked_for_in_each_domain() {
        let text = "search team.svc.cluster.local svc.cluster.local .\noptions ndots:2";
        let read = Configuration::parse(text, || None);
        let beneath = ["vault.team.svc.cluster.local", "vault.svc.cluster.local", "vault"];
        assert_eq!(read.candidates("vault"), beneath);
        assert_eq!(read.candidates("vault.corp.example").first().unwrap(), "vault.corp.example");
        assert_eq!(read.candidates("vault.corp.example").len(), 3);
        assert_eq!(read.candidates("vault."), ["vault"], "it says that it is whole");
    }
}
