"""What the routes share: the inbox and its writer, the tenants, the figures."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import apsw
import structlog
from fastapi import Request

from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.receiver.jwks import KeySets
from lms_crm_assets.receiver.metrics import Metrics
from lms_crm_assets.receiver.tenants import Secrets, Tenants
from lms_crm_assets.receiver.writer import Writer, unavailable
from lms_crm_assets.settings import Settings

_log = structlog.get_logger(__name__)


class Service:
    """One receiver; without a key or a writable folder it runs, says so at /readyz and takes nothing."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.tenants = Tenants(settings.tenants_dir)
        self.secrets = Secrets(lambda tenant: secrets_of(tenant, OperationalStore.at(settings.state_dir)))
        self.key_sets = KeySets()
        self.metrics = Metrics()
        self.inbox: Inbox | None = None
        self.trouble = ""
        self._writer: Writer | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the inbox and write to it; at the end what was taken is on the disk."""
        try:
            self.inbox = Inbox.at(self.settings.state_dir)
            store = OperationalStore.at(self.settings.state_dir)
        except (LmsCrmError, OSError, apsw.Error) as exc:
            self.trouble = str(exc) if isinstance(exc, LmsCrmError) else "the state folder can't be written"
            _log.error("inbox_not_opened", reason=self.trouble)
            yield
            return
        self.metrics.watch(self.inbox, store)
        self._writer = Writer(self.inbox)
        self._writer.start()
        try:
            yield
        finally:
            await self._writer.stop()

    @property
    def writer(self) -> Writer:
        """The writer; a `Problem` (503) where there is none."""
        if self._writer is None:
            raise unavailable("the receiver is not ready")
        return self._writer


def service_of(request: Request) -> Service:
    """The service of a request's app."""
    found: Service = request.app.state.service
    return found
