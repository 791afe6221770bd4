//! What Envoy knows of a stream beside its headers and bodies: its attributes.

use super::abi;
use crate::exchange::{BrokenOff, Property};
use std::net::{IpAddr, SocketAddr};

/// What Envoy knows of an answer that did not come to its end.
pub(super) fn broken_off(held: usize) -> BrokenOff {
    /// The client went away, reset its stream or broke the protocol.
    const BY_CLIENT: u64 = 0x1004_4000;
    let number = |path| abi::property(path)?.try_into().ok().map(u64::from_le_bytes);
    let status = number("response\0code").and_then(|code| code.try_into().ok());
    BrokenOff {
        status: status.unwrap_or(0),
        by_upstream: number("response\0flags").is_some_and(|flags| flags & BY_CLIENT == 0),
        held,
    }
}

/// Whether a request that failed was sent to an upstream, or Envoy found none that takes it.
pub(super) fn reached_upstream() -> bool {
    const CONNECTION_FAILURE: u64 = 0x20;
    const RETRIES_EXCEEDED: u64 = 0x8000;
    if abi::property("upstream\0address").is_none_or(|address| address.is_empty()) {
        return false;
    }
    let flags = abi::property("response\0flags").unwrap_or_default();
    let flags = flags.try_into().map_or(0, u64::from_le_bytes);
    // An earlier try may have got through.
    flags & CONNECTION_FAILURE == 0 || flags & RETRIES_EXCEEDED != 0
}

/// By the paths of Envoy's attributes.
pub(super) fn property(of: Property<'_>) -> Vec<u8> {
    let known = match of {
        Property::Cluster => abi::property("xds\0cluster_name"),
        Property::Route => abi::property("xds\0route_name"),
        Property::Source => return source_address(),
        Property::Metadata(filter, steps) => {
            let mut path = format!("metadata\0filter_metadata\0{filter}");
            for step in steps {
                path.push('\0');
                path.push_str(step);
            }
            abi::property(&path)
        }
    };
    known.unwrap_or_default()
}

/// The caller's address as Envoy trusts it (`use_remote_address`, `xff_num_trusted_hops`), without the port. Of an IPv6
/// address its network: one caller may have all of it.
fn source_address() -> Vec<u8> {
    let address = abi::property("source\0address").unwrap_or_default();
    let parsed = std::str::from_utf8(&address)
        .ok()
        .and_then(|text| text.parse::<SocketAddr>().ok());
    match parsed.map(|address| address.ip()) {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().into_iter().take(8).collect(),
        None => address,
    }
}
