"""Whether a Prefect server answers anybody: then whoever reaches it runs anything on its workers."""

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx

from tasks.core.worker import without_credentials

__all__ = ["unlocked"]

SECONDS = 30.0


def unlocked(url: str) -> str | None:
    """A warning where the server at this API's URL wants no password, and others may reach it.

    Others may where the URL names another machine, or where the server listens on this one's own addresses.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    reached = not _is_loopback(host) or any(_listens(address, port) for address in _own_addresses())
    if not reached or _wants_password(url):
        return None
    return (
        f"warning: {without_credentials(url)} asks for no password, and listens on more than loopback: "
        "whoever reaches it may run anything on its workers; set PREFECT_SERVER_API_AUTH_STRING "
        "where it starts (docs/security.md)"
    )


def _wants_password(url: str) -> bool:
    try:
        answer = httpx.post(f"{url.rstrip('/')}/work_pools/count", json={}, timeout=SECONDS)
    except httpx.HTTPError:
        return True  # it answers nobody; what comes next says why
    return answer.status_code in (401, 403)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_addresses() -> set[str]:
    """Of this machine, but for loopback."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
    return {address for address in found if not _is_loopback(address.partition("%")[0])}


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
