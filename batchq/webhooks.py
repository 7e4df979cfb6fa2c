"""Sends a signed event to the address that a submission named: to the public internet, and nowhere else.

Whoever submits names the address, and workers stand inside a network whose other machines trust them. So the name
is looked up once and every address it has must be public; the connection goes to one of those, whatever the name
says a moment later. Redirects are not followed, the answer's body is not read, and all of it has one deadline.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from batchq.errors import BatchqError
from batchq.providers.gemini.transport import DeadlineBackend, certificates, exchange

MAX_URL = 2_048  # characters
GONE = 410  # by the Standard Webhooks specification: the receiver wants no more

# Reached by public addresses of its own, and meant for the machine's eyes only: Azure's metadata and agent service.
NOT_PUBLIC = frozenset({ipaddress.ip_address("168.63.129.16")})
NAT64, NAT64_INSIDE = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48")


class Undelivered(BatchqError):
    """The receiver does not have the event. Messages name no more of the address than its host."""


class Refused(Undelivered):
    """It is not to be tried again: the address is not ours to call, or its owner wants no more."""


def problem_of(url: str, *, loopback: bool) -> str | None:
    """Why nothing can be sent there; None: as far as its text tells, it can. What its name means is looked at later."""
    if len(url) > MAX_URL:
        return f"it has more than {MAX_URL} characters"
    if not url.isascii() or any(one <= " " or one == "\x7f" for one in url):
        return "it holds spaces, control or non-ASCII characters: write those as %XX, and names in punycode"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme not in ("https", "http") or not host:
        return "write it as https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "it holds a login: events are signed, so that the receiver needs none"
    if parts.scheme == "http" and not (loopback and (host == "localhost" or _is_loopback(host))):
        return "it must begin with https://"
    address = _address(host)
    if address is not None and not is_allowed(address, loopback=loopback):
        return f"{host} is no public address"
    return None


def send(url: str, event_id: str, body: str, secret: str, *, timeout_s: float, loopback: bool) -> None:
    """One try. Raises Undelivered, and Refused where a second one is pointless."""
    import httpcore2

    problem, host = problem_of(url, loopback=loopback), urlsplit(url).hostname
    if problem is not None:  # by this worker's settings, which may be others than the submitter's
        raise Refused(f"its address is refused: {problem}")
    headers = {**signed(event_id, body, secret), "content-type": "application/json", "user-agent": "batchq"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        with (
            exchange(timeout_s),
            httpcore2.ConnectionPool(
                ssl_context=certificates(), network_backend=_PublicBackend(loopback)
            ) as pool,
            pool.stream("POST", url, headers=raw, content=body.encode()) as response,
        ):
            status = response.status
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, OSError) as exc:
        raise Undelivered(f"{host} cannot be reached: {type(exc).__name__}") from exc
    if status == GONE:
        raise Refused(f"{host} answered HTTP 410: it wants no more events")
    if 300 <= status < 400:
        raise Undelivered(f"{host} answered HTTP {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise Undelivered(f"{host} answered HTTP {status}")


def signed(event_id: str, body: str, secret: str) -> Mapping[str, str]:
    """The headers of the Standard Webhooks specification."""
    from standardwebhooks import Webhook

    now = datetime.now(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body),
    }


class _PublicBackend(DeadlineBackend):
    """Connects to public addresses only; to this machine where the settings allow it."""

    def __init__(self, loopback: bool) -> None:
        super().__init__()
        self._loopback = loopback

    def addresses(self, host: str, port: int, timeout_s: float) -> list[str]:
        found = super().addresses(host, port, timeout_s)
        for text in found:
            address = _address(text)
            if address is None or not is_allowed(address, loopback=self._loopback):
                raise Refused(f"{host} has an address that is not public")
        return found


def is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, loopback: bool) -> bool:
    """Whether events may go there. Addresses of version 4 inside those of version 6 count as what they lead to."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_allowed(inner, loopback=loopback)
        if address in NAT64_INSIDE:
            return False
    if address.is_loopback:
        return loopback
    return address.is_global and not address.is_multicast and address not in NOT_PUBLIC


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback
