"""Where webhooks may be sent: hosts that the configuration names, and never into the twin's own network."""

import errno
import socket
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from yarl import URL

from streams.web.access.config import is_loopback

SETTING = "access.webhook_hosts in TWIN_CONFIG"
"""What says where webhooks may be sent."""

TIMEOUT_S = 10.0
"""[s] For name, connection and answer together."""

READ_BYTES = 1_024
"""[B] Of an answer that are taken off the network, about; nobody looks at them."""

PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""Where a host that is named in full may be, too (RFC 1918, 6598, 4193)."""

NAT64 = IPv6Network("64:ff9b::/96")
"""Leads to the IPv4 address in its last 32 bits (RFC 6052)."""

Address = IPv4Address | IPv6Address


class HostList:
    """Names, patterns (`*.example.org`), addresses and networks (`10.1.0.0/16`)."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: list[str] = []
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            try:
                self._networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                self._names.append(entry.lower().rstrip("."))

    @property
    def is_empty(self) -> bool:
        """Whether there are no webhooks at all."""
        return not self._names and not self._networks

    def may_send_to(self, host: str) -> bool:
        """Whether a host of a URL is named; an address, also whether it may be connected to."""
        address = _address(host)
        if address is not None:
            return self.may_connect(host, host)
        name = _name(host)
        return any(fnmatchcase(name, pattern) for pattern in self._names)

    def may_connect(self, host: str, text: str) -> bool:
        """Whether an address that a host has may be connected to.

        In a network of the list: always. Else if it is public and the host matches a name; a host that the
        list has in full may also be in a private network, and `localhost` on this machine.
        """
        address = _address(text)
        if address is None:
            return False
        if any(address in network for network in self._networks):
            return True
        name = _name(host)
        if not any(fnmatchcase(name, pattern) for pattern in self._names):
            return False
        if address.is_global and not address.is_multicast:
            return True
        if name not in self._names:
            return False
        return any(address in network for network in PRIVATE) or (address.is_loopback and is_loopback(name))

    def open_session(self, host: str) -> aiohttp.ClientSession:
        """A client for one host. What is checked is the address that it connects to, whatever a name meant
        a moment ago; each request connects anew."""

        def make_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, place = info
            if not self.may_connect(host, place[0]):
                raise PermissionError(errno.EACCES, f"{place[0]} is no address that {SETTING} allows")
            return socket.socket(family, kind, protocol)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=make_socket, use_dns_cache=False, force_close=True, limit=1
            ),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=READ_BYTES,
        )


def read_url(text: str) -> URL:
    """The URL of a webhook.

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("http", "https") or not host or not port:
        raise ValueError("must be a URL such as https://hooks.example.org/twin")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("has a user or password: the signature tells who sends")
    if url.raw_fragment:
        raise ValueError("has a fragment (#…), which is never sent")
    return url


def _name(host: str) -> str:
    return host.lower().rstrip(".")


def _address(text: str) -> Address | None:
    """An address; of one that leads to an IPv4 address, that one."""
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
