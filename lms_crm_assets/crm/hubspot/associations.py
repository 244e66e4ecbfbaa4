"""Links between records: read, made and taken away in batches of their own (HubSpot documentation, "Associations v4")."""

from collections.abc import Mapping, Sequence
from typing import Any

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.hubspot.answers import expect_only, listed, unreadable, unwritten
from lms_crm_assets.crm.hubspot.client import HubSpotClient
from lms_crm_assets.domain import CrmObject, Link, Outcome, OutcomeStatus
from lms_crm_assets.errors import FatalError

_READ = 1000
_DEFAULT = "default"
_NOTHING_LINKED = "OBJECT_NOT_FOUND"

Linked = dict[str, dict[str, frozenset[int]]]
"""CRM id → CRM ids that it is linked to → the types of these links."""


class HubSpotLinker:
    """The associations of one portal."""

    batch_size = 2000

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client
        self._types: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

    def link(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Associate with the type that the contract's label names; what is so already is left alone."""
        to, relation = spec.parents[parent].to, spec.parents[parent].relation
        types = [] if relation == _DEFAULT else self._types_of(spec.to, to, relation)
        wanted = {kind["associationTypeId"] for kind in types}
        held = self.linked(spec.to, to, [link.from_crm_id for link in links])
        missing = [link for link in links if not _holds(held, link, wanted)]
        answer: Any = {}
        if missing:
            inputs = [{**_pair(link), **({"types": types} if types else {})} for link in missing]
            answer = self._write(spec.to, to, "batch/create" if types else "batch/associate/default", inputs)
            if not isinstance(answer, Mapping) or "results" not in answer:
                raise unreadable(self._client.url)
        made = {_ends(result) for result in listed(answer, "results")}
        made |= {(link.from_crm_id, link.to_crm_id) for link in set(links) - set(missing)}
        errors = listed(answer, "errors")
        return [_outcome(link, errors, done=(link.from_crm_id, link.to_crm_id) in made) for link in links]

    def unlink(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Take every association between the pairs away; HubSpot answers nothing when all of it worked."""
        to = spec.parents[parent].to
        inputs = [{"from": {"id": link.from_crm_id}, "to": [{"id": link.to_crm_id}]} for link in links]
        answer = self._write(spec.to, to, "batch/archive", inputs)
        errors = listed(answer, "errors")
        # Which pair an error means is not said in a form to rely on: what is still there says it.
        held = self.linked(spec.to, to, [link.from_crm_id for link in links]) if errors else {}
        return [_outcome(link, errors, done=not _holds(held, link, set())) for link in links]

    def linked(self, start: str, end: str, crm_ids: Sequence[str]) -> Linked:
        """What each of these records is linked to; who has no link is left out."""
        found: Linked = {}
        ids = list(dict.fromkeys(crm_ids))
        for first in range(0, len(ids), _READ):
            asked: list[dict[str, str]] = [{"id": crm_id} for crm_id in ids[first : first + _READ]]
            while asked:
                following = []
                for result in self._page(start, end, asked):
                    crm_id = str(result["from"]["id"])
                    of = found.setdefault(crm_id, {})
                    before = len(of)
                    of.update({str(ref["toObjectId"]): _types(ref) for ref in listed(result, "to")})
                    after = ((result.get("paging") or {}).get("next") or {}).get("after")
                    if after is not None and len(of) > before:  # a page without news: the cursor runs in a circle
                        following.append({"id": crm_id, "after": str(after)})
                asked = following
        return found

    def _page(self, start: str, end: str, asked: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, Any]]:
        path = self._client.paths.associations(start, end, "batch/read")
        answer = self._client.read("POST", path, body={"inputs": list(asked)}, pool="associations")
        expect_only(listed(answer, "errors"), _NOTHING_LINKED, self._client.url)
        return listed(answer, "results")

    def _write(self, start: str, end: str, operation: str, inputs: Sequence[Mapping[str, Any]]) -> Any:
        path = self._client.paths.associations(start, end, operation)
        return self._client.call("POST", path, body={"inputs": list(inputs)}, pool="associations", is_batch=True)

    def _types_of(self, start: str, end: str, label: str) -> list[dict[str, Any]]:
        key = (start, end, label)
        if key not in self._types:
            path = self._client.paths.associations(start, end, "labels")
            told = self._client.read("GET", path, pool="associations")["results"]
            found = [kind for kind in told if kind["label"] == label]
            if not found:
                raise FatalError(
                    f"HubSpot has no association label {label!r} from {start} to {end}: `lms-crm crm setup` makes it"
                )
            self._types[key] = [
                {"associationCategory": kind["category"], "associationTypeId": kind["typeId"]} for kind in found
            ]
        return self._types[key]


def _holds(held: Linked, link: Link, wanted: set[int]) -> bool:
    """Whether the two are linked, by every wanted type."""
    types = held.get(link.from_crm_id, {}).get(link.to_crm_id)
    return types is not None and wanted <= types


def _types(ref: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(int(kind["typeId"]) for kind in listed(ref, "associationTypes"))


def _pair(link: Link) -> dict[str, Any]:
    return {"from": {"id": link.from_crm_id}, "to": {"id": link.to_crm_id}}


def _ends(result: Mapping[str, Any]) -> tuple[str, str]:
    """The two CRM ids of an association result, in either of the forms that HubSpot uses."""
    if "from" in result:
        return str(result["from"]["id"]), str(result["to"]["id"])
    return str(result.get("fromObjectId")), str(result.get("toObjectId"))


def _outcome(link: Link, errors: Sequence[Mapping[str, Any]], *, done: bool) -> Outcome:
    """A link is made when the results name it; an error counts for the links whose records it names."""
    if done:
        return Outcome(link.external_id, OutcomeStatus.SUCCEEDED, link.from_crm_id)
    return unwritten(link.external_id, link.from_crm_id, next((e for e in errors if _means(e, link)), None))


def _means(error: Mapping[str, Any], link: Link) -> bool:
    context = error.get("context") or {}
    either = set(map(str, context.get("objectId", [])))
    starts = set(map(str, context.get("fromObjectId", [])))
    ends = set(map(str, context.get("toObjectId", [])))
    if starts or ends:
        return (not starts or link.from_crm_id in starts) and (not ends or link.to_crm_id in ends)
    return not either.isdisjoint({link.from_crm_id, link.to_crm_id})
