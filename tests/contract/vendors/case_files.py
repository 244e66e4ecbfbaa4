"""The files of cases: what a case says, and the names in braces that are filled in when it runs.

A text may hold `{name}`: what the endpoint knows (`{version}`, `{prefix}`, …) or what a step before has kept. A text that
is nothing but `{name}` becomes the kept value itself, whatever its type. `!repeat [times, value]` writes a list out;
`{n}` in it counts from 0. `!filler number` is a text of so many characters.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tests.contract.vendors.matching import TAGS, Matcher, Regex

FOLDER = Path(__file__).parent
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Vendor = Literal["salesforce", "hubspot"]
_NAME = re.compile(r"\{([a-z][a-z_0-9]*)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(_Strict):
    """One HTTP request; at most one of `json`, `form` and `csv` is its body."""

    method: Method = "GET"
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    content: Any = Field(None, alias="json")
    form: Mapping[str, str] | None = None
    csv: str | None = None
    anonymous: bool = Field(default=False, description="Without the endpoint's own Authorization header.")
    keep: Mapping[str, str] = Field({}, description="Names for values of the answer: `{id: results.0.id}`.")


class Step(Request):
    """A request before the one of the case, or after it to clean up. It must succeed, unless `status` says otherwise."""

    status: list[int] = []
    until: Any = Field(None, description="Ask again until the answer matches: what vendors do in the background.")


class Expectation(_Strict):
    """The answer: `status` is a list where documentation and live answers differ."""

    status: list[int]
    headers: Mapping[str, Any] = {}
    body: Any = Field(None, description="A matcher document; without one the body must be empty.")
    csv: Any = Field(None, description="A matcher document for the rows, each a list, the header first.")

    @model_validator(mode="before")
    @classmethod
    def _one_status(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("status"), int):
            return {**given, "status": [given["status"]]}
        return given


class Case(_Strict):
    """One recorded or documented answer."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    source: str = Field(min_length=10, description="The documentation's page, the public project that recorded it.")
    request: Request
    expect: Expectation
    setup: list[Step] = []
    cleanup: list[Step] = Field([], description="Run after the case, whatever came of it.")
    options: Mapping[str, Any] = Field({}, description="Options of the simulator; only with `sandbox_only`.")
    sandbox_only: str = Field("", description="Why the case can't run against a live account.")
    known_difference: str = Field("", description="What the simulator answers instead, until it is mended.")
    vendor: Vendor
    topic: str

    @model_validator(mode="after")
    def _live_accounts_have_no_options(self) -> "Case":
        if self.options and not self.sandbox_only:
            raise ValueError("options are the simulator's: say in sandbox_only why the case needs them")
        return self


class _Loader(yaml.SafeLoader):
    """YAML with the matchers' tags."""


def _matcher(loader: _Loader, suffix: str, node: yaml.Node) -> Matcher:
    kind = TAGS.get(f"!{suffix}")
    if kind is None:
        raise yaml.constructor.ConstructorError(None, None, f"unknown tag !{suffix}", node.start_mark)
    return kind(node.value if kind is Regex else _value(loader, node))


def _value(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "a scalar was expected", node.start_mark)
    # A tag takes the place of the scalar's own type: find that anew, so that `!one_of` and the like see numbers.
    implicit = (node.style is None, node.style is not None)
    tag = loader.resolve(yaml.ScalarNode, node.value, implicit)  # type: ignore[no-untyped-call]
    return loader.construct_object(yaml.ScalarNode(tag, node.value))


def _repeat(loader: _Loader, node: yaml.Node) -> list[Any]:
    times, value = _value(loader, node)
    return [filled(value, {"n": str(number)}, strict=False) for number in range(times)]


def _filler(loader: _Loader, node: yaml.Node) -> str:
    return "x" * int(_value(loader, node))


_Loader.add_constructor("!repeat", _repeat)
_Loader.add_constructor("!filler", _filler)
_Loader.add_multi_constructor("!", _matcher)


def parsed(text: str, vendor: Vendor, topic: str) -> list[Case]:
    """The cases of one file."""
    return [Case(**each, vendor=vendor, topic=topic) for each in yaml.load(text, _Loader)]


def load(vendor: Vendor) -> list[Case]:
    """All cases of a vendor, one file a topic."""
    paths = sorted((FOLDER / vendor).glob("*.yaml"))
    return [case for path in paths for case in parsed(path.read_text(encoding="utf-8"), vendor, path.stem)]


def filled(document: Any, values: Mapping[str, Any], *, strict: bool = True) -> Any:
    """The document with its names in braces replaced, in matchers too; `KeyError` for one that nobody knows."""

    def text(template: str, *, pattern: bool = False) -> Any:
        whole = _NAME.fullmatch(template)
        if whole and whole[1] in values and not pattern:
            return values[whole[1]]

        def value(found: re.Match[str]) -> str:
            if found[1] not in values:
                if strict:
                    raise KeyError(found[1])
                return found[0]
            return re.escape(str(values[found[1]])) if pattern else str(values[found[1]])

        return _NAME.sub(value, template)

    if isinstance(document, Regex):
        return Regex(text(document.of, pattern=True))
    if isinstance(document, Matcher):
        return replace(document, of=filled(document.of, values, strict=strict))
    if isinstance(document, Mapping):
        return {text(name): filled(value, values, strict=strict) for name, value in document.items()}
    if isinstance(document, list):
        return [filled(each, values, strict=strict) for each in document]
    return text(document) if isinstance(document, str) else document
