"""The way to an address: name, connection, certificate, and the clock that it tells. No credential is sent."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from lms_crm_assets.doctor.verdict import Verdict, fail, ok, warn

_TIMEOUT_SECONDS = 10.0
_SKEWED_SECONDS, _BROKEN_SECONDS = 60, 300
"""Signed webhooks and JWTs are refused from five minutes on."""
_ENDING_DAYS, _ENDED_SOON_DAYS = 30, 7


@dataclass(frozen=True, slots=True)
class Seen:
    """What an address showed: `trouble` when it doesn't answer; `told_at` is its clock, `heard_at` ours."""

    trouble: str = ""
    remedy: str = ""
    certificate_ends: datetime | None = None
    told_at: datetime | None = None
    heard_at: datetime | None = None


def look(url: str) -> Seen:
    """Ask an address for its head, as anybody would; redirects are not followed."""
    parts = urlsplit(url)
    host, path = str(parts.hostname), parts.path or "/"
    try:
        socket.getaddrinfo(host, parts.port or parts.scheme)
    except (OSError, UnicodeError):  # the second of one that is none, as with two dots side by side
        return Seen(f"the name {host} is not known", "check the address in the contract, and this machine's DNS")
    try:
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=_TIMEOUT_SECONDS, context=httpx.create_ssl_context(trust_env=False)
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.connect()
            ends = _certificate_ends(connection.sock)
            connection.request("HEAD", path, headers={"User-Agent": "lms-crm doctor"})
            told = connection.getresponse().getheader("Date")
            heard_at = datetime.now(UTC)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as exc:
        return Seen(
            f"its certificate is refused: {exc.verify_message}", "whoever runs it has to renew it; it is never skipped"
        )
    except (OSError, http.client.HTTPException) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        return Seen(
            f"nothing answers at {url} ({reason})", "check the address, a firewall, and whether the system is up"
        )
    return Seen(certificate_ends=ends, told_at=_moment(told), heard_at=heard_at)


def judge(about: str, url: str, seen: Seen, now: datetime) -> Iterator[Verdict]:
    """The address's line, its certificate's, and the clock's."""
    if seen.trouble:
        yield fail(f"{about} address", seen.trouble, seen.remedy)
        return
    if seen.certificate_ends is None:
        yield ok(f"{about} address", f"{url} answers (loopback, not encrypted)")
    else:
        days = (seen.certificate_ends - now).days
        says = f"{url} answers, its certificate ends in {days} days ({seen.certificate_ends:%Y-%m-%d})"
        remedy = "tell whoever runs it to renew the certificate"
        if days < _ENDING_DAYS:
            soon = " VERY soon" if days < _ENDED_SOON_DAYS else ""
            yield warn(f"{about} address", f"{says}{soon}", remedy)
        else:
            yield ok(f"{about} address", says)
    yield _clock(about, seen)


def _clock(about: str, seen: Seen) -> Verdict:
    if seen.told_at is None or seen.heard_at is None:
        return ok(f"{about} clock", "it tells no time")
    ahead = (seen.heard_at - seen.told_at).total_seconds()
    says = f"this machine's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} it"
    remedy = "set this machine's clock by NTP (chrony, systemd-timesyncd)"
    if abs(ahead) > _BROKEN_SECONDS:
        return fail(f"{about} clock", f"{says}: signed webhooks and JWTs are refused", remedy)
    if abs(ahead) > _SKEWED_SECONDS:
        return warn(f"{about} clock", says, remedy)
    return ok(f"{about} clock", says if abs(ahead) > 1 else "agrees with it")


def _certificate_ends(sock: socket.socket) -> datetime | None:
    if not isinstance(sock, ssl.SSLSocket):
        return None
    told = (sock.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told)), UTC) if told else None


def _moment(told: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(told).astimezone(UTC) if told else None
    except (ValueError, OverflowError):
        return None
