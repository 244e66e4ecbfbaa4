"""The org's knobs: what `/_sandbox/reset` and `/_sandbox/options` may set, and the refusals that can be arranged."""

import random
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from lms_crm_assets.sandbox.core import SandboxRequestError

from .installed import OBJECTS
from .schema import SObject

# What jsforce and simple-salesforce split at; the Bulk API guide says "100 MB" and explains it by base64 and 150 MB.
_UPLOAD_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """A rule of the org: a record of `object` whose `field` matches `pattern` is refused with `message`."""

    object: str
    field: str
    pattern: re.Pattern[str]
    message: str


@dataclass(slots=True)
class RowFault:
    """A refusal of single rows of `object`, by REST and by Bulk API, whatever they hold.

    `key_pattern` is searched in the row's unique value, or its id when it has none. `times` bounds how often it
    strikes (None: always), `share` is the chance for each row.
    """

    object: str
    key_pattern: re.Pattern[str]
    status_code: str
    message: str
    times: int | None
    share: float
    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - no secret hangs on it

    def strikes(self, key: str) -> bool:
        """Whether the row of that key is hit; uses up `times`."""
        if self.times == 0 or not self.key_pattern.search(key):
            return False
        if self.share < 1.0 and self.rng.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number from 0 on")
    return value


def _positive(value: Any) -> int:
    if _count(value) == 0:
        raise ValueError("a whole number from 1 on")
    return int(value)


def _count_or_none(value: Any) -> int | None:
    return None if value is None else _count(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("seconds from 0 on")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - one error for all readers
    return value


def _duplicate_rule(value: Any) -> Any:
    if value not in {None, "block", "alert"}:
        raise ValueError('null, "block" or "alert"')
    return value


def _listed(
    value: Any, required: AbstractSet[str], optional: AbstractSet[str] = frozenset()
) -> list[Mapping[str, Any]]:
    shape = f"a list of objects with {', '.join(sorted(required))}"
    if not isinstance(value, list):
        raise ValueError(shape)  # noqa: TRY004 - as above
    for each in value:
        if not isinstance(each, dict) or not required <= each.keys() <= required | optional:
            raise ValueError(shape + (f" and perhaps {', '.join(sorted(optional))}" if optional else ""))
        if _installed(str(each["object"])) is None:
            raise ValueError(f"{shape}; there is no {each['object']}")
    return value


def _installed(name: str) -> SObject | None:
    return next((each for each in OBJECTS if each.name.lower() == name.lower()), None)


def _pattern(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except (re.error, TypeError) as exc:
        raise ValueError(f"a regular expression, which {value!r} is not") from exc


def _validation_rules(value: Any) -> tuple[ValidationRule, ...]:
    rules = []
    for each in _listed(value, {"object", "field", "pattern", "message"}):
        sobject = _installed(each["object"])
        found = sobject.field(str(each["field"])) if sobject else None
        if sobject is None or found is None or not found.stored:
            raise ValueError(f"about stored fields, which {each['object']}.{each['field']} is not")
        rules.append(ValidationRule(sobject.name, found.name, _pattern(each["pattern"]), str(each["message"])))
    return tuple(rules)


def _row_faults(value: Any) -> tuple[RowFault, ...]:
    faults = []
    for each in _listed(value, {"object", "statusCode", "message"}, {"key_pattern", "times", "share"}):
        sobject = _installed(each["object"])
        share = each.get("share", 1.0)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError("with a share between 0 and 1")
        faults.append(
            RowFault(
                sobject.name if sobject else "",
                _pattern(each.get("key_pattern", "")),
                str(each["statusCode"]),
                str(each["message"]),
                _count_or_none(each.get("times")),
                float(share),
            )
        )
    return tuple(faults)


def _knob(read: Callable[[Any], Any], default: Any) -> Any:
    return field(default=default, metadata={"read": read})


@dataclass
class Options:
    """One shared object for all parts of an org, so that a change holds at once."""

    daily_limit: int = _knob(_count, 100_000)
    """API requests a day."""
    token_calls: int | None = _knob(_count_or_none, None)
    """Calls that a token lives, None without bound; holds for tokens given out from then on."""
    token_seconds: float = _knob(_seconds, 7200.0)
    """Seconds that a token lives; holds for those given out before too."""
    code_seconds: float = _knob(_seconds, 900.0)
    """Seconds that an authorization code lives (Salesforce help: 15 minutes)."""
    latency_seconds: float = _knob(_seconds, 0.0)
    """Added to each call."""
    rotate_refresh_tokens: bool = _knob(_flag, default=False)
    """Whether a refresh token works once."""
    concurrent_limit: int = _knob(_positive, 25)
    """Requests in progress at the same time; the platform counts those of 20 s and more, the sandbox all."""
    lock_seconds: float = _knob(_seconds, 0.0)
    """How long a written row locks itself and its parents for other requests and batches, in the org's time."""
    duplicate_rule: Literal["block", "alert"] | None = _knob(_duplicate_rule, None)
    """What is done with a Contact whose Email another live one holds."""
    validation_rules: tuple[ValidationRule, ...] = _knob(_validation_rules, ())
    """A list of `{object, field, pattern, message}`."""
    row_faults: tuple[RowFault, ...] = _knob(_row_faults, ())
    """A list of `{object, key_pattern, statusCode, message, times, share}`; all but the codes may be left out."""
    bulk_batches_a_day: int = _knob(_count, 15_000)
    """Internal batches of ingest jobs, `DailyBulkApiBatches`."""
    bulk_batch_rows: int = _knob(_positive, 10_000)
    """Rows of an internal batch."""
    bulk_batch_seconds: float = _knob(_seconds, 0.0)
    """Wall-clock seconds that pass before each internal batch, and before a query job's answer."""
    bulk_upload_bytes: int = _knob(_positive, _UPLOAD_BYTES)
    """The most that one upload holds."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """The defaults with these changes; `SandboxRequestError` as `change`."""
        made = cls()
        made.change(given)
        return made

    def change(self, given: Mapping[str, Any]) -> None:
        """Set some; `SandboxRequestError`, and nothing set, when one is unknown or has a wrong value."""
        readers = {each.name: each.metadata["read"] for each in fields(self) if each.default is not MISSING}
        unknown = given.keys() - readers.keys()
        if unknown:
            raise SandboxRequestError(f"unknown options: {', '.join(sorted(unknown))}")
        read = {}
        for name, value in given.items():
            try:
                read[name] = readers[name](value)
            except ValueError as exc:
                raise SandboxRequestError(f"{name} has to be {exc}") from exc
        for name, value in read.items():
            setattr(self, name, value)

    @property
    def arranged(self) -> bool:
        """Whether any row could be refused by arrangement; most orgs have none, and rows are many."""
        return bool(self.row_faults or self.validation_rules or self.duplicate_rule or self.lock_seconds)
