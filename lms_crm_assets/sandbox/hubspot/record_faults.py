"""Poison records: single inputs of a batch upsert that HubSpot refuses for reasons the sandbox does not model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.schema import ObjectType


@dataclass(slots=True)
class RecordFault:
    """Refuses the inputs for `object` (any spelling of its name) whose key has the regular expression `key_pattern`.

    The key is the input's `id`, and the pattern is searched in it as in a fault's route. `times` bounds how many inputs
    are refused (null: all). The category CONFLICT answers 409 where the whole batch is refused, any other 400.
    """

    object: str
    key_pattern: str
    category: str = "VALIDATION_ERROR"
    message: str = "The sandbox refuses this record"
    times: int | None = None

    def check(self, object_type: ObjectType, key: str) -> None:
        """`HubSpotError` when this input is refused; uses up `times`."""
        if self.times == 0 or self.object.lower() not in object_type.aliases or not re.search(self.key_pattern, key):
            return
        if self.times is not None:
            self.times -= 1
        raise HubSpotError(409 if self.category == "CONFLICT" else 400, self.message, category=self.category)


def read_record_faults(given: Sequence[Any]) -> tuple[RecordFault, ...]:
    """The faults a control request lists; `SandboxRequestError` for a malformed one."""
    faults = []
    for one in given:
        try:
            fault = RecordFault(**one)
            re.compile(fault.key_pattern)
        except (TypeError, re.error) as exc:
            raise SandboxRequestError(f"a record fault is malformed: {exc}") from exc
        texts = (fault.object, fault.category, fault.message)
        if not all(isinstance(text, str) for text in texts) or type(fault.times) not in {int, type(None)}:
            raise SandboxRequestError(f"a record fault is malformed: {one!r}")
        faults.append(fault)
    return tuple(faults)
