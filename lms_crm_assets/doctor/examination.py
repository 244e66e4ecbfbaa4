"""One visit: what is looked at, in which order. What can't be right because of something before it is not looked at."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.doctor import machine, network, packages, services, sides
from lms_crm_assets.doctor.verdict import Level, Verdict, fail, ok, warn
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.neighbours import REMEDY, neighbours
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings


def examine_machine(
    settings: Settings, environ: Mapping[str, str], healthy_daemons: Mapping[str, bool] | None
) -> Iterator[Verdict]:
    """What concerns all tenants."""
    lock = next((file for file in (Path("requirements.lock"), _beside_package()) if file.is_file()), None)
    yield from packages.packages(
        packages.needed(), packages.locked(lock.read_text(encoding="utf-8")) if lock else None, packages.installed
    )
    yield from machine.settings_stand(settings, environ)
    yield machine.room(settings)
    yield services.daemons(healthy_daemons)


def examine_tenant(settings: Settings, environ: Mapping[str, str], tenant: str) -> Iterator[Verdict]:
    """What concerns one tenant: the contract, the ways to both sides, credentials, rights, the warehouse."""
    try:
        contract = load_contract(settings.tenants_dir, tenant)
    except LmsCrmError as exc:
        first, *more = str(exc).splitlines()
        says = f"{first} (and {len(more)} more)" if more else first
        yield fail("contract", says, f"lms-crm tenants validate --tenant {tenant} names each line")
        return
    yield ok("contract", f"{contract.source.adapter} → {contract.destination.adapter}, {len(contract.objects)} objects")
    now = datetime.now(UTC)
    with _store(settings, environ) as (store, is_real):
        for side, url in (("LMS", contract.source.url), ("CRM", contract.destination.url)):
            way = list(network.judge(side, url, network.look(url), now))
            yield from way
            if any(each.about == f"{side} address" and each.level is Level.FAIL for each in way):
                continue
            if side == "LMS":
                yield from sides.lms_side(contract, store)
            elif is_real or not _rotates(contract):
                yield from sides.crm_side(contract, store, now.date())
            else:
                yield warn(
                    "CRM credential",
                    "not tried: a refresh token that rotates would be lost, for there is no state folder to keep it in",
                    f"lms-crm tenants validate --tenant {tenant} makes it, and tries",
                )
        yield from _records(contract, settings, store)
        yield machine.warehouse(settings, tenant)
        yield from services.event_takers(contract, store)


def _records(contract: Contract, settings: Settings, store: OperationalStore) -> Iterator[Verdict]:
    """Whether another tenant writes to this one's records, as far as contracts and secrets tell."""
    try:
        others = list(neighbours(contract, settings.tenants_dir, store))
    except LmsCrmError as exc:
        yield warn("CRM records", f"whether another tenant writes to them is not known: {exc}", "try again later")
        return
    yield from (warn("CRM records", other, REMEDY) for other in others)
    if not others:
        by_token = contract.destination.adapter == "hubspot" and contract.destination.portal_id is None
        as_far = ", as far as its token tells; destination.portal_id tells for sure" if by_token else ""
        yield ok("CRM records", f"no other contract that can be read is known to write to them{as_far}")


@contextmanager
def _store(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[OperationalStore, bool]]:
    """The operational store as it is, whose rates our calls keep to; a passing one where there is none, and that it is none."""
    if OperationalStore.is_made(settings.state_dir, environ):
        try:
            found = OperationalStore.at(settings.state_dir)
        except (LmsCrmError, OSError):
            pass  # the machine's lines say so
        else:
            yield found, True
            return
    with (
        tempfile.TemporaryDirectory(prefix="lms-crm-doctor-") as folder,
        closing(OperationalStore(Path(folder))) as passing,
    ):
        yield passing, False


def _rotates(contract: Contract) -> bool:
    return contract.destination.flow == "refresh_token"


def _beside_package() -> Path:
    return Path(__file__).parent.parent.parent / "requirements.lock"
