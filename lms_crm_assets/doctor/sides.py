"""Both sides of a contract: credential, rights, and whether the CRM can hold what is mapped. Only reads."""

import re
from collections.abc import Iterator
from datetime import date

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.acceptance import Severity
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.examine import examine
from lms_crm_assets.crm.lifecycle import nearing
from lms_crm_assets.doctor.verdict import Verdict, fail, ok, warn
from lms_crm_assets.errors import LmsCrmError, PermissionMissingError, RetryableError
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.ops.store import OperationalStore

_PRIVILEGES = "docs/least-privilege.md tells the rights that are needed"
_REPORTS = "docs/moodle.md, The reports, tells how they are made and named in the contract"
# What a probe says of a right without which runs of the tenant fail; all else only leaves something empty.
_STOPS = re.compile(r"may not read|\bno \w+ can be read|can be read safely")


def lms_side(contract: Contract, store: OperationalStore) -> Iterator[Verdict]:
    """Whether the LMS takes the credential, and what that may not see."""
    try:
        lms = lms_adapter(contract, store)
        try:
            unseen = lms.probe()
        finally:
            lms.close()
    except LmsCrmError as exc:
        yield _of_error("LMS credential", exc)
        return
    yield ok("LMS credential", "accepted")
    for sentence in unseen:
        verdict = fail if _STOPS.search(sentence) else warn
        # What no right mends, but a key of the contract.
        yield verdict("LMS rights", sentence, _REPORTS if "source.reports" in sentence else _PRIVILEGES)
    if not unseen:
        yield ok("LMS rights", "all that is read may be read")


def crm_side(contract: Contract, store: OperationalStore, today: date) -> Iterator[Verdict]:
    """Whether the CRM takes the credential, lets it write what is mapped, and for how long its API version lives."""
    yield from _api_version(contract, today)
    try:
        crm = crm_adapter(contract, store)
        try:
            crm.probe()
            quota = crm.quota()
        finally:
            crm.close()
    except LmsCrmError as exc:
        yield _of_error("CRM credential", exc)
        return
    yield ok("CRM credential", "accepted")
    if quota is not None:
        used, allowed = quota
        share = contract.guardrails.quota_share
        says = f"{used:,} of {allowed:,} calls of the day are used"
        if used >= share * allowed:
            remedy = "runs wait until the day is over: docs/runbook.md, The day's calls are used up"
            yield warn("CRM quota", f"{says}, and guardrails.quota_share allows {share:.0%}", remedy)
        else:
            yield ok("CRM quota", says)
    try:
        examined = examine(contract, store)
    except LmsCrmError as exc:
        yield _of_error("CRM rights", exc)
        return
    for obj, found in examined.items():
        grave = [finding for finding in found.findings if finding.severity is not Severity.NOTE]
        for finding in grave:
            verdict = fail if finding.severity is Severity.ERROR else warn
            yield verdict("CRM rights", f"{'.'.join(finding.path)}: {finding.message}", finding.remedy)
        if not grave:
            fields = len(found.spec.fields)
            yield ok("CRM rights", f"{obj}: {found.spec.to} with its key and {fields} fields can be read and written")


def _api_version(contract: Contract, today: date) -> Iterator[Verdict]:
    ending = nearing(contract.destination, today)
    for each in ending:
        how = "from then on without support" if each.answers else "then it answers no more"
        verdict = warn if each.answers or each.on > today else fail
        yield verdict("CRM API version", f"{each.what} ends on {each.on} ({each.source}): {how}", each.remedy)
    if not ending:
        yield ok("CRM API version", f"{contract.destination.api_version}, with no known end in 90 days")


def _of_error(about: str, exc: LmsCrmError) -> Verdict:
    if isinstance(exc, RetryableError):
        return fail(about, str(exc), "try again in some minutes")
    if isinstance(exc, PermissionMissingError):
        return fail(about, str(exc), _PRIVILEGES)
    return fail(about, str(exc), "put the right one where the contract says: docs/credentials.md")
