//! Which servers may be asked. Who writes a list of repositories, or answers for a name, must not be able to lead this
//! machine to what only it can reach: itself, its network, the metadata of a cloud.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
};

use gix::url::Scheme;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::ErrorKind;

/// What [`classify_text`](super::classify_text) knows a refusal by, wherever in a chain of errors it comes up.
pub(super) const REFUSAL: &str = "not a public address";

/// Networks of IANA's registry of special-purpose IPv4 addresses that are not reachable for everybody, multicast, and what
/// is reserved.
const PRIVATE_4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Likewise, within the addresses that IPv6 has for single machines (2000::/3); nothing outside of those is public.
const PRIVATE_6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether everybody reaches the same machine at `address`.
pub fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(address) => return is_public_4(address),
        IpAddr::V6(address) => address,
    };
    if let Some(inner) = embedded(address) {
        return is_public_4(inner);
    }
    let is_in = |(network, bits): &(Ipv6Addr, u32)| (address.to_bits() ^ network.to_bits()) >> (128 - bits) == 0;
    address.to_bits() >> 125 == 1 && !PRIVATE_6.iter().any(is_in)
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let is_in = |(network, bits): &(Ipv4Addr, u32)| (address.to_bits() ^ network.to_bits()) >> (32 - bits) == 0;
    !PRIVATE_4.iter().any(is_in)
}

/// The IPv4 address that packets to `address` end at: mapped ones, those of a translator (RFC 6052) and of 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, [c, d, e, f]) {
        (0, 0, [0, 0, 0, 0xffff]) | (0x64, 0xff9b, [0, 0, 0, 0]) => Some(of(g, h)),
        (0x2002, ..) => Some(of(b, c)),
        _ => None,
    }
}

/// Refuses a URL that names an address which is not public, or this machine's disk, without a question to anybody.
pub(super) fn check_literal(url: &gix::Url) -> Result<(), (ErrorKind, String)> {
    if url.scheme == Scheme::File {
        let reason = "it is on this machine: give its path, or --allow-private";
        return Err((ErrorKind::PrivateAddress, reason.into()));
    }
    match literal(url) {
        Some(address) if !is_public(address) => Err((ErrorKind::PrivateAddress, refusal(address))),
        _ => Ok(()),
    }
}

/// As [`check_literal`], and asks for the addresses of a name.
pub(super) fn check(url: &gix::Url) -> Result<(), (ErrorKind, String)> {
    check_literal(url)?;
    let host = url.host().unwrap_or_default();
    if literal(url).is_some() {
        return Ok(());
    }
    let unknown = |error: io::Error| (ErrorKind::Unreachable, format!("could not resolve {host}: {error}"));
    let found: Vec<SocketAddr> = (host, 0).to_socket_addrs().map_err(unknown)?.collect();
    match found.iter().find(|found| !is_public(found.ip())) {
        Some(found) => Err((ErrorKind::PrivateAddress, refusal(found.ip()))),
        None => Ok(()),
    }
}

/// The address that a URL names. HTTP's URLs may spell one in ways that no resolver is asked about (`0x7f.1`).
fn literal(url: &gix::Url) -> Option<IpAddr> {
    let host = url.host()?;
    let host = match url.scheme {
        Scheme::Http | Scheme::Https => {
            reqwest::Url::parse(&format!("http://{host}/")).ok()?.host_str().unwrap_or_default().to_owned()
        }
        _ => host.to_owned(),
    };
    host.trim_matches(['[', ']']).parse().ok()
}

fn refusal(address: IpAddr) -> String {
    format!("{address} is {REFUSAL} (--allow-private allows it)")
}

/// Finds the addresses of names, and none where one of them is not public. A connection is made to those that were checked.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find(|found| !is_public(found.ip())) {
                Some(found) => Err(refusal(found.ip()).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use gix::bstr::ByteSlice as _;

    use super::*;

    #[test]
    fn only_addresses_that_everybody_reaches_are_public() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("9.255.255.255", true),
            ("10.0.0.0", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false),
            ("172.15.255.255", true),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.0.1", false),
            ("192.169.0.1", true),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.20.0.0", true),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.1.2.3", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b:1::8.8.8.8", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:1ff::1", false),
            ("2001:200::1", true),
            ("2001:db8::1", false),
            ("2002:7f00:1::1", false),
            ("2002:808:808::1", true),
            ("2606:4700::1111", true),
            ("3fff:fff::1", false),
            ("3fff:1000::1", true),
            ("4000::1", false),
            ("fc00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().expect("an address")), expected, "{address}");
        }
    }

    #[test]
    fn urls_of_private_addresses_are_refused_however_they_are_spelt() {
        for (url, expected) in [
            ("https://1.1.1.1/a", true),
            ("https://127.0.0.1/a", false),
            ("http://127.1:8080/a", false),
            ("http://0x7f.1/a", false),
            ("http://2130706433/a", false),
            ("http://0177.0.0.1/a", false),
            ("https://user:password@10.0.0.1/a", false),
            ("https://[::1]/a", false),
            ("https://[::ffff:192.168.0.1]:8443/a", false),
            ("https://[2606:4700::1111]/a", true),
            ("ssh://git@10.0.0.1/a", false),
            ("git@192.168.1.1:a/b", false),
            ("git://[fe80::1]/a", false),
            ("git://1.1.1.1/a", true),
            ("file:///srv/a", false),
        ] {
            let url = gix::url::parse(url.as_bytes().as_bstr()).expect("a URL");
            let refused = check_literal(&url).err().map(|(kind, _)| kind);
            assert_eq!(refused, (!expected).then_some(ErrorKind::PrivateAddress), "{url:?}");
        }
        for url in ["https://localhost/a", "git://localhost/a", "ssh://git@localhost/a", "git://2130706433/a"] {
            let url = gix::url::parse(url.as_bytes().as_bstr()).expect("a URL");
            assert!(check_literal(&url).is_ok());
            assert_eq!(check(&url).err().map(|(kind, _)| kind), Some(ErrorKind::PrivateAddress), "{url:?}");
        }
    }
}
