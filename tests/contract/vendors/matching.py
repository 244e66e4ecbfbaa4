"""Comparing an answer with a matcher document: exact values, and matchers where an answer may vary.

Plain values, lists and mappings must be equal, a mapping to its last key. A key that ends in `?` may be missing. What may
vary is said by a matcher, written as a YAML tag:

    !any                   anything
    !text  !int  !moment   a text that is not empty, a whole number, an ISO 8601 date and time with a zone
    !digits                a whole number or its text: ids that documentation and live answers write differently
    !id18                  an 18-character Salesforce id with the right check characters
    !regex pattern         a text in which the pattern is found
    !subset {…}            a mapping that holds at least these keys
    !unordered […]         these elements in any order
    !each value            a list, not empty, each of whose elements is `value`
    !some value            a list with at least one such element
    !one_of […]            one of these
    !as_json value         a text that is JSON for `value`

YAML gives a node one tag: a `value` that is a matcher itself stands in a list of one, `!each [!text ]`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where an answer is not what was expected."""

    path: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.path}: expected {_cut(self.expected)}, came {_cut(self.came)}"


@dataclass(frozen=True, slots=True)
class Matcher:
    """Something an answer is compared with; `of` is what stands behind the tag, None for a tag without a value."""

    of: Any = None

    def differences(self, actual: Any, path: str) -> Iterator[Difference]:
        if not self.holds(actual):
            yield Difference(path, self.spoken(), shown(actual))

    def holds(self, actual: Any) -> bool:
        """Whether the value is as it must be; for matchers that look at one value alone."""
        raise NotImplementedError

    def spoken(self) -> str:
        """The matcher as it stands in the document."""
        tag = next(tag for tag, kind in TAGS.items() if kind is type(self))
        return tag if self.of is None else f"{tag} {shown(self.of)}"


class AnyValue(Matcher):
    def holds(self, actual: Any) -> bool:  # noqa: ARG002 - anything
        return True


class Text(Matcher):
    def holds(self, actual: Any) -> bool:
        return isinstance(actual, str) and bool(actual.strip())


class Int(Matcher):
    def holds(self, actual: Any) -> bool:
        return type(actual) is int


class Digits(Matcher):
    def holds(self, actual: Any) -> bool:
        if self.of is not None:
            return type(actual) in {int, str} and str(actual) == str(self.of)
        return type(actual) is int or (isinstance(actual, str) and actual.isdecimal())


class Moment(Matcher):
    def holds(self, actual: Any) -> bool:
        try:
            return isinstance(actual, str) and datetime.fromisoformat(actual).tzinfo is not None
        except ValueError:
            return False


class Id18(Matcher):
    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, str) or not re.fullmatch(r"[A-Za-z0-9]{18}", actual):
            return False
        chunks = [actual[start : start + 5] for start in (0, 5, 10)]
        bits = [sum(each.isupper() << place for place, each in enumerate(chunk)) for chunk in chunks]
        return actual[15:] == "".join(_CHECK[number] for number in bits)


class Regex(Matcher):
    def holds(self, actual: Any) -> bool:
        return isinstance(actual, str) and re.search(self.of, actual, re.DOTALL) is not None


class Subset(Matcher):
    def differences(self, actual: Any, path: str) -> Iterator[Difference]:
        yield from _of_mapping(self.of, actual, path, others=True)


class Each(Matcher):
    def differences(self, actual: Any, path: str) -> Iterator[Difference]:
        if not isinstance(actual, list) or not actual:
            yield Difference(path, "a list that is not empty", shown(actual))
            return
        for place, element in enumerate(actual):
            yield from differences(_one(self.of), element, f"{path}[{place}]")


class Some(Matcher):
    def holds(self, actual: Any) -> bool:
        return isinstance(actual, list) and any(matches(_one(self.of), each) for each in actual)


class OneOf(Matcher):
    def holds(self, actual: Any) -> bool:
        return any(matches(each, actual) for each in self.of)


class AsJson(Matcher):
    def differences(self, actual: Any, path: str) -> Iterator[Difference]:
        try:
            parsed = json.loads(actual)
        except (TypeError, ValueError):
            yield Difference(path, "JSON in a text", shown(actual))
        else:
            yield from differences(_one(self.of), parsed, f"{path}(json)")


class Unordered(Matcher):
    def differences(self, actual: Any, path: str) -> Iterator[Difference]:
        if not isinstance(actual, list):
            yield Difference(path, "a list", shown(actual))
            return
        partner = _pairs(self.of, actual)
        missed = [each for place, each in enumerate(self.of) if place not in partner.values()]
        left = [each for place, each in enumerate(actual) if place not in partner]
        for each in missed:
            came = "only " + ", ".join(shown(one) for one in left) if left else "no such element"
            yield Difference(f"{path}[*]", shown(each), came)
        if not missed:
            yield from (Difference(f"{path}[*]", "no other element", shown(each)) for each in left)


TAGS: Mapping[str, type[Matcher]] = {
    "!any": AnyValue,
    "!text": Text,
    "!int": Int,
    "!digits": Digits,
    "!moment": Moment,
    "!id18": Id18,
    "!regex": Regex,
    "!subset": Subset,
    "!each": Each,
    "!some": Some,
    "!one_of": OneOf,
    "!as_json": AsJson,
    "!unordered": Unordered,
}


def differences(expected: Any, actual: Any, path: str = "$") -> Iterator[Difference]:
    """Where `actual` is not what the document says, place by place; nothing when it matches."""
    if isinstance(expected, Matcher):
        yield from expected.differences(actual, path)
    elif isinstance(expected, Mapping):
        yield from _of_mapping(expected, actual, path, others=False)
    elif isinstance(expected, list):
        yield from _of_list(expected, actual, path)
    elif type(expected) is not type(actual) or expected != actual:
        # 1 is neither 1.0 nor true in JSON, whatever Python says.
        yield Difference(path, shown(expected), shown(actual))


def matches(expected: Any, actual: Any) -> bool:
    """Whether there is no difference."""
    return next(differences(expected, actual), None) is None


def shown(value: Any) -> str:
    """A value as a message shows it."""
    return value.spoken() if isinstance(value, Matcher) else json.dumps(value, ensure_ascii=False, default=shown)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _one(value: Any) -> Any:
    """What stands behind a tag, out of its list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _of_mapping(expected: Mapping[str, Any], actual: Any, path: str, *, others: bool) -> Iterator[Difference]:
    if not isinstance(actual, Mapping):
        yield Difference(path, "an object", shown(actual))
        return
    for name, value in expected.items():
        key = name.removesuffix("?")
        if key in actual:
            yield from differences(value, actual[key], f"{path}.{key}")
        elif key == name:
            yield Difference(f"{path}.{key}", shown(value), "no such key")
    if not others:
        for name in sorted(actual.keys() - {each.removesuffix("?") for each in expected}):
            yield Difference(f"{path}.{name}", "no such key", shown(actual[name]))


def _of_list(expected: Sequence[Any], actual: Any, path: str) -> Iterator[Difference]:
    if not isinstance(actual, list):
        yield Difference(path, "a list", shown(actual))
        return
    for place, (one, other) in enumerate(zip(expected, actual, strict=False)):
        yield from differences(one, other, f"{path}[{place}]")
    if len(expected) != len(actual):
        yield Difference(path, f"{len(expected)} elements", f"{len(actual)}: {shown(actual)}")


def _pairs(expected: Sequence[Any], actual: Sequence[Any]) -> dict[int, int]:
    """As many elements as possible, each with an expectation of its own (augmenting paths): actual → expected."""
    partner: dict[int, int] = {}

    def place(wanted: int, tried: set[int]) -> bool:
        for candidate, value in enumerate(actual):
            if candidate not in tried and matches(expected[wanted], value):
                tried.add(candidate)
                if candidate not in partner or place(partner[candidate], tried):
                    partner[candidate] = wanted
                    return True
        return False

    for wanted in range(len(expected)):
        place(wanted, set())
    return partner
