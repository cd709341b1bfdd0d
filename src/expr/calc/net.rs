//! Addresses and networks (RFC 4632, RFC 4291).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network in the notation of CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    first: IpAddr,
    bits: u8,
}

impl Net {
    /// The network that `text` says, or the single address.
    ///
    /// Errors: in words, what is wrong with it.
    pub fn parse(text: &str) -> Result<Net, String> {
        let (start, bits) = match text.split_once('/') {
            Some((start, bits)) => (start, Some(bits)),
            None => (text, None),
        };
        let none = || format!("`{text}` is no network: those are written `10.0.0.0/8` or `2001:db8::/32`");
        let first: IpAddr = start.parse().map_err(|_| none())?;
        let whole = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(whole), str::parse).map_err(|_| none())?;
        if bits > whole {
            return Err(format!("`{text}` has more than {whole} bits of network"));
        }
        match masked(first, bits) {
            same if same == first => Ok(Net { first, bits }),
            other => Err(format!("`{text}` has bits behind its mask: the network is `{other}/{bits}`")),
        }
    }

    /// Whether the address lies in it.
    pub fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many bits of its addresses are those of the network.
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

/// The address with all bits cleared behind the first `bits`.
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(four.to_bits() & mask).into()
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(six.to_bits() & mask).into()
        }
    }
}

/// The address that `text` is; one of IPv4 that is written as one of IPv6 counts as the former.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Of private use: RFC 1918 and RFC 4193, loopback and link-local ones.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_private() || four.is_loopback() || four.is_link_local(),
        IpAddr::V6(six) => six.is_unique_local() || six.is_loopback() || six.is_unicast_link_local(),
    }
}
