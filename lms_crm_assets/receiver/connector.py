"""What the connector API works with, beside the inbox and the tenants: keys, rates, and the copies of the warehouses."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request

from lms_crm_assets.ops.answers import API
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.receiver.idempotency import IdempotencyKeys
from lms_crm_assets.receiver.service import service_of
from lms_crm_assets.receiver.signer import Signer
from lms_crm_assets.receiver.writer import unavailable
from lms_crm_assets.settings import Settings
from lms_crm_assets.staging.build import RowJudge
from lms_crm_assets.warehouse.location import locate
from lms_crm_assets.warehouse.published import Published


@dataclass(frozen=True)
class Connector:
    """The parts behind the routes.

    `store` is shared with the runs (breakers, quotas), `calls` is the API's own (rates, idempotency keys).
    """

    store: OperationalStore
    calls: OperationalStore
    signer: Signer
    keys: IdempotencyKeys
    judge: RowJudge
    published: Published

    @classmethod
    def at(cls, settings: Settings, ring: KeyRing) -> "Connector":
        """The parts of a state folder."""
        calls = OperationalStore.at(settings.state_dir, API)
        return cls(
            OperationalStore.at(settings.state_dir),
            calls,
            Signer(ring, calls.clock),
            IdempotencyKeys(calls),
            RowJudge("changes", "UTC"),
            Published(partial(locate, settings), settings.state_dir / "published"),
        )


async def _connector(request: Request) -> Connector:
    service = service_of(request)
    if service.inbox is None:
        raise unavailable("the receiver is not ready")
    state: Any = request.app.state
    # On the event loop, so that there is one.
    if getattr(state, "connector", None) is None:
        state.connector = Connector.at(service.settings, KeyRing.of_environment("what is delivered has"))
    found: Connector = state.connector
    return found


TheConnector = Annotated[Connector, Depends(_connector)]
