"""Is a machine near: on this one, or in a private network?"""

from __future__ import annotations

import ipaddress
import socket


def is_near(host: str) -> bool:
    """Return whether a host, given by name or by number, is this machine or on a private network.

    The system is asked for the addresses of a name. One that it does not know counts as near: nobody can be reached
    there, as whoever connects is told.
    """
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True
    addresses = [ipaddress.ip_address(one.partition("%")[0]) for one in found]
    return all(one.is_private or one.is_loopback or one.is_link_local for one in addresses)
