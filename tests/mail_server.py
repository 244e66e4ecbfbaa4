"""A real SMTP server that keeps what it takes."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mailbox:
    """The server's port, what came, and the answers that it gives before it takes anything."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002 - aiosmtpd's
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        mail = BytesParser(policy=default).parsebytes(content)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


class _OnAnyPort(Controller):
    """Asked for port 0, the controller would connect to port 0 to see whether it serves."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None) -> Iterator[Mailbox]:
    """A server on a port of loopback; with `tls` it wants STARTTLS, with `login` that user and password."""
    mailbox = Mailbox()

    def authenticate(*given: Any) -> AuthResult:
        told = given[4]
        assert isinstance(told, LoginPassword)
        mailbox.users.append(told.login.decode())
        return AuthResult(success=login == (told.login.decode(), told.password.decode()), handled=False)

    options: dict[str, Any] = {"tls_context": tls, "require_starttls": tls is not None}
    if login is not None:
        options |= {"authenticator": authenticate, "auth_required": True}
    server = _OnAnyPort(mailbox, hostname="127.0.0.1", port=0, **options)
    server.start()
    try:
        mailbox.port = server.port
        yield mailbox
    finally:
        server.stop()
