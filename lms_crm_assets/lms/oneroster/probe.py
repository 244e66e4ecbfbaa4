"""Whether a provider answers, and which of its collections the client may read."""

from collections.abc import Sequence

from lms_crm_assets.errors import MissingError, PermissionMissingError, ProtocolError, WrongAddressError
from lms_crm_assets.lms.oneroster.collection import Collection

_NEEDED_FOR = {
    "users": "learners",
    "orgs": "learners",
    "classes": "courses",
    "courses": "courses",
    "enrollments": "enrollments",
    "lineItems": "scores and competencies",
    "results": "scores and competencies",
}
# Where these are missing, what they would add is missing, and all else is read.
_WITHOUT = {
    "orgs": "learners have no organization",
    "courses": "courses have the titles and codes of their classes alone",
    "lineItems": "scores have no range",
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
    unreadable = f"{_NEEDED_FOR[name]} can't be read"
    try:
        collection.probe(first=first)
    except PermissionMissingError:
        remedy = "grant it or set source.gradebook to false" if name in _GRADEBOOK else "grant it"
        return f"the client may not read {name}: {unreadable}; {remedy}"
    except MissingError:
        remedy = "; set source.gradebook to false" if name == "results" else ""
        return f"the provider has no {name}: {_WITHOUT.get(name, unreadable)}{remedy}"
    return None
