"""Whether a provider answers, and which of its collections the client may read."""

from collections.abc import Sequence

from lms_crm_assets.errors import MissingError, PermissionMissingError, ProtocolError, WrongAddressError
from lms_crm_assets.lms.oneroster.collection import Collection

_LOST = {
    "users": "learners can't be read",
    "orgs": "learners have no organization",
    "classes": "courses can't be read",
    "courses": "courses have the titles and codes of their classes alone",
    "enrollments": "enrollments can't be read",
    "lineItems": "scores have no range",
    "results": "scores and competencies can't be read",
}
_GRADEBOOK = ("lineItems", "results")


def probe(users: Collection, others: Sequence[Collection]) -> list[str]:
    """A sentence for each collection that the client may not read or the provider doesn't have."""
    try:
        found = [_refusal(users, first=True)]
    except ProtocolError as exc:
        raise WrongAddressError(f"{exc}: check that source.url is a provider of OneRoster 1.2") from exc
    found += [_refusal(collection) for collection in others]
    refusals = [sentence for sentence in found if sentence is not None]
    if len(refusals) == len(found):
        raise PermissionMissingError(
            f"{users.where}: the client may read nothing; grant it the scopes of docs/oneroster.md"
        )
    return refusals


def _refusal(collection: Collection, *, first: bool = False) -> str | None:
    name = collection.name
    without = "set source.gradebook to false" if name in _GRADEBOOK else None
    try:
        collection.probe(first=first)
    except PermissionMissingError:
        return f"the client may not read {name}: {_LOST[name]}; {' or '.join(filter(None, ['grant it', without]))}"
    except MissingError:
        return "; ".join(filter(None, [f"the provider has no {name}: {_LOST[name]}", without]))
    return None
