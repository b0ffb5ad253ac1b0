"""Addresses of clients, as limits count them."""

from __future__ import annotations

import ipaddress

#: For unknown or invalid addresses, which share one bucket.
UNKNOWN = "unknown"
#: Smallest IPv6 network of a subscriber (RFC 6177), who may use every address in it.
_IPV6_NETWORK_BITS = 64


def canonical(host: str) -> str:
    """Return the canonical address of a client: an IPv4 address, or the /64 network of an IPv6 address; else `unknown`.

    Proxies write `1.2.3.4:5678`, `[2001:db8::1]:5678`, zones (`fe80::1%eth0`) and IPv4 as `::ffff:1.2.3.4`.
    """
    host = host.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_NETWORK_BITS), strict=False))
