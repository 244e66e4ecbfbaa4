"""Looking at both sides before anything is written: a wrong address or credential ends here, with one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.errors import UnreachableError, WrongAddressError
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.ops.store import OperationalStore


def check_both_sides(contract: Contract, store: OperationalStore) -> list[str]:
    """A few cheap calls to the LMS and one to the CRM; raises the `FatalError` that says what to mend.

    `UnreachableError` where nothing answers.

    Gives in plain words what the LMS's credential may not see, a sentence each.
    """
    lms = lms_adapter(contract, store)
    try:
        with told_apart():
            unseen = lms.probe()
    finally:
        lms.close()
    crm = crm_adapter(contract, store)
    try:
        with told_apart():
            crm.probe()
    finally:
        crm.close()
    return unseen


@contextmanager
def told_apart() -> Iterator[None]:
    """A side where nothing answers may be down and come back; one that answers as something else is to be mended.

    A probe calls both a wrong address, for whoever reads it has to look at that first.
    """
    try:
        yield
    except WrongAddressError as exc:
        if isinstance(exc.__cause__, UnreachableError):
            raise UnreachableError(str(exc)) from exc
        raise
