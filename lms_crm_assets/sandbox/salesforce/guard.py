"""What stands between a row and its table beside the field's rules: row locks, duplicate and validation rules, faults.

Row locks: a write locks its record and the parents that it points at; another request that meets a lock is refused
with UNABLE_TO_LOCK_ROW. The platform waits up to 10 seconds for the lock first, the sandbox refuses at once
(Salesforce help, "Unable to lock row"; Bulk API guide, "no serial mode: sort by parent").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from .errors import RowError
from .options import Options
from .schema import Field, SObject
from .store import Record, Store
from .values import Value, fold

_FULL_SWEEP = 100_000
_MATCHED_FIELD = "Email"


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf rows are written: a request, composite ones as a whole, or an internal batch of a bulk job."""

    number: int
    data_url: str
    allow_save: bool = False


class Guard:
    """Judges rows as the org's options say. Without a `caller`, as for a change by hand, only its rules apply."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970; locks are held in its time."""
        self._options = options
        self._clock = clock
        self._numbers = count(1)
        self._locks: dict[str, tuple[int, float]] = {}
        self.caller: Caller | None = None

    def new_caller(self, data_url: str, *, allow_save: bool = False) -> Caller:
        """Someone whose locks are no hindrance to himself only; `allow_save` passes duplicate rules that alert."""
        return Caller(next(self._numbers), data_url, allow_save)

    def judge(self, store: Store, sobject: SObject, record: Record | None, values: Mapping[str, Value]) -> None:
        """`RowError` when this write is to be refused; `values` are those that are written, all resolved."""
        if not self._options.arranged:
            return
        if self.caller is not None:
            self._strike(sobject, record, values)
        self._validate(sobject, record, values)
        if self.caller is not None:
            self._find_duplicates(store, sobject, record, values)
            self._lock(sobject, record, values)

    def judge_delete(self, sobject: SObject, record: Record) -> None:
        """`RowError` when this record must not be deleted now."""
        if self._options.arranged and self.caller is not None:
            self._strike(sobject, record, {})
            self._lock(sobject, record, {})

    def _strike(self, sobject: SObject, record: Record | None, values: Mapping[str, Value]) -> None:
        faults = [fault for fault in self._options.row_faults if fault.object == sobject.name]
        if not faults:
            return
        held = [_after(sobject, record, values, each) for each in sobject.unique]
        key = next((str(value) for value in held if value is not None), record.id if record else "")
        for fault in faults:
            if fault.strikes(key):
                raise RowError(fault.status_code, fault.message)

    def _validate(self, sobject: SObject, record: Record | None, values: Mapping[str, Value]) -> None:
        for rule in self._options.validation_rules:
            found = sobject.field(rule.field) if rule.object == sobject.name else None
            value = _after(sobject, record, values, found) if found else None
            if value is not None and rule.pattern.search(str(value)):
                raise RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule.message, [rule.field])

    def _find_duplicates(
        self, store: Store, sobject: SObject, record: Record | None, values: Mapping[str, Value]
    ) -> None:
        """A matching rule on the e-mail, exact; it runs when a record is made or its e-mail written."""
        rule, value = self._options.duplicate_rule, values.get(_MATCHED_FIELD)
        matched = sobject.field(_MATCHED_FIELD)
        if rule is None or value is None or matched is None or self.caller is None:
            return
        if rule == "alert" and self.caller.allow_save:
            return
        if record is not None and fold(str(value)) == fold(str(record.values[sobject.slots[matched.name]])):
            return
        others = store.find(sobject, matched, str(value))
        if others:
            raise _duplicates(sobject, others, self.caller.data_url, allow_save=rule == "alert")

    def _lock(self, sobject: SObject, record: Record | None, values: Mapping[str, Value]) -> None:
        if not self._options.lock_seconds or self.caller is None:
            return
        touched = [] if record is None else [record.id]
        for lookup in sobject.lookups:
            before = None if record is None else record.values[sobject.slots[lookup.name]]
            touched += [str(id_) for id_ in {before, values.get(lookup.name, before)} if id_ is not None]
        now = self._clock()
        for id_ in touched:
            holder, until = self._locks.get(id_, (0, 0.0))
            if holder not in {0, self.caller.number} and now < until:
                message = f"unable to obtain exclusive access to this record or 1 records: {id_}"
                raise RowError("UNABLE_TO_LOCK_ROW", message)
        for id_ in touched:
            self._locks[id_] = (self.caller.number, now + self._options.lock_seconds)
        if len(self._locks) > _FULL_SWEEP:
            self._locks = {id_: lock for id_, lock in self._locks.items() if now < lock[1]}


def _after(sobject: SObject, record: Record | None, values: Mapping[str, Value], field: Field) -> Value:
    """What the record will hold in a stored field once the values are written."""
    if field.name in values or record is None:
        return values.get(field.name)
    return record.values[sobject.slots[field.name]]


def _duplicates(sobject: SObject, others: list[Record], data_url: str, *, allow_save: bool) -> RowError:
    """The refusal with its `duplicateResult`, shaped as a recorded answer (REST, v50, an exact matching rule)."""
    message = "Use one of these records?"
    result: dict[str, Any] = {
        "allowSave": allow_save,
        "duplicateRule": f"{sobject.name}_Email_Duplicate_Rule",
        "duplicateRuleEntityType": sobject.name,
        "errorMessage": message,
        "matchResults": [
            {
                "entityType": sobject.name,
                "errors": [],
                "matchEngine": "ExactMatchEngine",
                "matchRecords": [
                    {
                        "additionalInformation": [],
                        "fieldDiffs": [],
                        "matchConfidence": 100.0,
                        "record": {
                            "attributes": {
                                "type": sobject.name,
                                "url": f"{data_url}/sobjects/{sobject.name}/{other.id}",
                            },
                            "Id": other.id,
                        },
                    }
                    for other in others
                ],
                "rule": f"{sobject.name}_Email_Matching_Rule",
                "size": len(others),
                "success": True,
            }
        ],
    }
    return RowError("DUPLICATES_DETECTED", message, duplicate_result=result)
