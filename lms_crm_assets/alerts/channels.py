"""How a message goes to a channel. What fails is a `RetryableError` or `FatalError` whose line holds no address and no secret."""

import base64
import binascii
import hashlib
import hmac
import smtplib
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import httpx
import orjson
from pydantic import TypeAdapter, ValidationError

from lms_crm_assets.alerts.message import Message
from lms_crm_assets.contract.alerts import Channel, EmailChannel, SlackChannel, WebhookChannel
from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.endpoints import Address
from lms_crm_assets.errors import FatalError, RetryableError

_SECONDS = 10.0
_ADDRESS: TypeAdapter[str] = TypeAdapter(Address)
_LEAST_SECRET = 24


def send(channel: Channel, message: Message, secret: Resolve = resolve) -> str:
    """Send the message; `CredentialError` when a secret is missing. Gives what is to be mended though it was taken.

    `secret` gives what lies behind a reference; without one of a tenant the vault is not open.
    """
    match channel:
        case SlackChannel():
            _to_slack(channel, message, secret)
        case WebhookChannel():
            _to_webhook(channel, message, secret)
        case EmailChannel():
            return _to_mailbox(channel, message, secret)
    return ""


def _to_slack(channel: SlackChannel, message: Message, secret: Resolve) -> None:
    try:
        url = _ADDRESS.validate_python(secret(channel.url).get_secret_value())
    except ValidationError:
        raise FatalError(f"what lies at {channel.url} is no https:// address") from None
    title, lines = _escaped(message.title), [_escaped(line) for line in message.lines]
    body = {
        "text": "\n".join([title, *lines]),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}},
        ],
    }
    _post(url, orjson.dumps(body), {})


def _escaped(text: str) -> str:
    """As Slack wants it: & < > are its own marks (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _to_webhook(channel: WebhookChannel, message: Message, secret: Resolve) -> None:
    """Signed as Standard Webhooks has it: HMAC-SHA256 over id, moment and body."""
    key, body, moment = _key(channel, secret), orjson.dumps(message.plain()), f"{int(time.time())}"
    signed = hmac.new(key, f"{message.id}.{moment}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(signed).decode()}"
    _post(channel.url, body, {"webhook-id": message.id, "webhook-timestamp": moment, "webhook-signature": signature})


def _key(channel: WebhookChannel, secret: Resolve) -> bytes:
    try:
        found = base64.b64decode(secret(channel.secret).get_secret_value().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) < _LEAST_SECRET:
        raise FatalError(f"what lies at {channel.secret} is no whsec_ and base64 of {_LEAST_SECRET} bytes or more")
    return found


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    try:
        with httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client:
            answer = client.post(url, content=body, headers={"content-type": "application/json", **headers})
    except httpx.TransportError as exc:
        raise RetryableError(f"it can't be reached: {type(exc).__name__}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise FatalError(f"its answer can't be read: {type(exc).__name__}") from None
    if answer.is_redirect:
        raise FatalError(f"it answers {answer.status_code}: redirects are not followed, name the place itself")
    if not answer.is_success:
        raise RetryableError(f"it answers {answer.status_code}")


def _to_mailbox(channel: EmailChannel, message: Message, secret: Resolve) -> str:
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.recipients)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
    mail["Message-ID"] = f"<{message.id}@{channel.sender.rpartition('@')[2]}>"
    # No automatic answer comes back (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(message.lines))
    user = secret(channel.username).get_secret_value() if channel.username else None
    password = secret(channel.password).get_secret_value() if channel.password else ""
    try:
        server = _mail_server(channel)
        try:
            if channel.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if user is not None:
                server.login(user, password)
            refused = server.send_message(mail)
        finally:
            # What was taken is taken, however the server takes its leave.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
    except smtplib.SMTPAuthenticationError as exc:
        raise FatalError(f"the mail server refuses the login ({exc.smtp_code})") from None
    except smtplib.SMTPRecipientsRefused as exc:
        raise RetryableError(f"the mail server refuses all {len(exc.recipients)} recipients") from None
    except smtplib.SMTPResponseException as exc:
        raise RetryableError(f"the mail server answers {exc.smtp_code}") from None
    except ssl.SSLError as exc:
        raise RetryableError(f"the mail server's TLS is not trusted: {exc.reason or type(exc).__name__}") from None
    except (smtplib.SMTPException, OSError) as exc:
        raise RetryableError(f"the mail server can't be reached or broke off: {type(exc).__name__}") from None
    # To send it again would tell the others twice.
    return f"the mail server refuses {len(refused)} of {len(channel.recipients)} recipients" if refused else ""


def _mail_server(channel: EmailChannel) -> smtplib.SMTP:
    if channel.security == "tls":
        return smtplib.SMTP_SSL(channel.host, channel.port, timeout=_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(channel.host, channel.port, timeout=_SECONDS)
