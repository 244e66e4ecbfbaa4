"""Looking once: what is amiss is noted, and who has not heard of it is told. Nothing here makes a run fail."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from lms_crm_assets.alerts.channels import send
from lms_crm_assets.alerts.conditions import findings
from lms_crm_assets.alerts.message import message_of
from lms_crm_assets.alerts.register import Register, due
from lms_crm_assets.alerts.state import TenantState
from lms_crm_assets.contract.alerts import Alerts, Channel
from lms_crm_assets.contract.loading import load_fleet_alerts
from lms_crm_assets.errors import ContractError, LmsCrmError
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore

_log = structlog.get_logger(__name__)

_HOUR = 3600.0
# So long alerts that are over can be listed.
KEPT_SECONDS = 90 * 86_400.0


class Look:
    """One look at some tenants; a channel that fails is left alone until the next look."""

    def __init__(self, store: OperationalStore, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._store = store
        self._register = Register(store)
        self._clock = store.clock
        self._environ = environ
        self._down: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._fleet, self._mistakes = Alerts(), ""
        try:
            self._fleet = load_fleet_alerts(folder)
        except ContractError as exc:
            self._mistakes = str(exc)

    @property
    def troubles(self) -> list[str]:
        """A line for each channel that did not take a message, and what is off in the alerts of all tenants."""
        return [*self._mistakes.splitlines(), *sorted({**self._waiting, **self._down}.values())]

    def at(self, states: Iterable[TenantState]) -> None:
        """Note what is amiss with the tenants, and tell who has to hear of it."""
        for state in states:
            policy = state.alerts.over(self._fleet)
            self._register.note(state.tenant, findings(state, policy))
            self._tell(state.tenant, policy)

    def _tell(self, tenant: str, policy: Alerts) -> None:
        reminder = None if policy.reminder_hours is None else policy.reminder_hours * _HOUR
        for alert in self._register.to_tell(tenant):
            for channel in policy.channels:
                if channel.kinds is not None and alert.kind not in channel.kinds:
                    continue
                what = due(alert, channel.name, reminder, self._clock())
                if what is None or _place(channel) in self._down:
                    continue
                if not self._register.claim(alert, channel.name, what):
                    if trouble := alert.trouble_with(channel.name):
                        self._waiting[_place(channel)] = f"{channel.name}: {trouble}"
                    continue
                message = message_of(alert, channel.name, what, self._clock(), self._environ)
                try:
                    note = send(channel, message, secrets_of(tenant, self._store))
                except Exception as exc:  # noqa: BLE001 - a defect of one channel must not silence the others
                    trouble = str(exc) if isinstance(exc, LmsCrmError) else type(exc).__name__
                    self._down[_place(channel)] = f"{channel.name}: {trouble}"
                    self._register.failed(alert, channel.name, what, trouble)
                    _log.warning("alert was not sent", channel=channel.name, tenant=tenant, trouble=trouble)
                    continue
                self._register.sent(alert, channel.name, what, note)


def _place(channel: Channel) -> str:
    """What tells one channel from another of the same name in another contract."""
    return channel.model_dump_json()
