"""A TCP port for a server that cannot choose one itself, and that nobody takes before it listens."""

import random
import socket

LOWEST, BEYOND = 20_000, 32_000
"""Below the ports that systems hand out by themselves, to clients as well."""
_HELD: list[socket.socket] = []


def reserved_port() -> int:
    """A port on loopback; other test processes are kept from it until this one ends.

    The UDP port of the same number says that it is taken: it leaves the TCP port to the server.
    """
    for port in random.sample(range(LOWEST, BEYOND), BEYOND - LOWEST):
        mark = socket.socket(type=socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            mark.close()
        else:
            _HELD.append(mark)
            return port
    raise RuntimeError(f"no free port from {LOWEST} to {BEYOND}")
