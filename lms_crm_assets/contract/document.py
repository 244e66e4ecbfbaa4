"""A contract's text as a plain document with the line of every key; `loading` makes a contract of it.

Everything that YAML allows and a contract doesn't need is refused while reading, before anything is built from it:
anchors and aliases (nine lines of them make a billion entries), tags, merge keys, duplicate keys, many documents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Secrets that can be told by their shape: HubSpot's tokens, keys in PEM, signed tokens.
_SECRETS = re.compile(r"\bpat-[a-z]{2}\d-[0-9a-f-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.[\w-]{8,}\.")
Path = tuple[str, ...]


@dataclass
class Document:
    """A file's content; `problems` are pairs of line and message, `unset` the paths whose variables aren't set."""

    content: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    unset: set[Path] = field(default_factory=set)

    def line_of(self, path: Sequence[object]) -> int:
        """The line of a key, or of the nearest key above it that the file has."""
        for end in range(len(path), 0, -1):
            if (found := self.lines.get(tuple(map(str, path[:end])))) is not None:
                return found
        return 1


def read_document(content: bytes) -> Document:
    """The document in a file's bytes, with every problem of its form; the content is empty when it can't be read."""
    found = _read(content)
    return replace(found, problems=list(found.problems), unset=set())


@lru_cache(maxsize=64)
def _read(content: bytes) -> Document:
    """The same bytes are read once: a run asks for its contract in every step."""
    found = Document()
    if len(content) > MAX_BYTES:
        found.problems.append((1, f"the file is larger than {MAX_BYTES // 1024} KiB"))
        return found
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        found.problems.append((content[: exc.start].count(b"\n") + 1, "the file is not in UTF-8"))
        return found
    for number, line in enumerate(text.splitlines(), 1):
        if _SECRETS.search(line):
            found.problems.append(
                (number, "a secret stands here in clear text: take it out, revoke it, name its place")
            )
    try:
        if not _harmless(text, found):
            return found
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        found.problems.append(_broken(exc, text))
        return found
    if not isinstance(tree, yaml.MappingNode):
        found.problems.append((1, "the file has to hold a mapping that starts with 'version: 2'"))
        return found
    found.content = _mapping(tree, (), found)
    return found


def filled(document: Document, environ: Mapping[str, str]) -> dict[str, Any]:
    """The content with `${NAME}` replaced from the environment; what is not set becomes a problem."""
    content: dict[str, Any] = _fill(document.content, (), document, environ)
    return content


def _harmless(text: str, found: Document) -> bool:
    """Look at the events, which build nothing, and note what a contract doesn't need."""
    depth, documents, before = 0, 0, len(found.problems)
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            found.problems.append((line, f"*{anchor}: aliases are not allowed, write it out"))
        elif anchor:
            found.problems.append((line, f"&{anchor}: anchors are not allowed, write it out"))
        elif tag:
            found.problems.append((line, f"{tag}: tags are not allowed"))
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:  # noqa: PLR2004 - the second
                found.problems.append((line, "the file holds more than one document"))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            found.problems.append((line, f"the file is nested deeper than {MAX_DEPTH} levels"))
            return False
    if documents == 0:
        found.problems.append((1, "the file is empty: it has to hold a mapping that starts with 'version: 2'"))
    return len(found.problems) == before


def _broken(exc: yaml.YAMLError, text: str) -> tuple[int, str]:
    mark = getattr(exc, "problem_mark", None)
    said = str(getattr(exc, "problem", None) or getattr(exc, "reason", "") or "it can't be read")
    if mark is None:  # a character that YAML does not have
        position = getattr(exc, "position", 0)
        return text[:position].count("\n") + 1, f"this is no valid YAML: {said}"
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in said:
        return mark.line + 1, "this is no valid YAML: indent with spaces, not with tabs"
    return mark.line + 1, f"this is no valid YAML: {said}"


def _mapping(node: yaml.MappingNode, path: Path, found: Document) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            found.problems.append((line, f"{'.'.join(path) or 'the file'}: a key has to be a text"))
            continue
        if key.tag == "tag:yaml.org,2002:merge":
            found.problems.append((line, "'<<': merge keys are not allowed, write it out"))
            continue
        if key.value in content:
            first = found.lines[(*path, key.value)]
            dotted = ".".join((*path, key.value))
            found.problems.append((line, f"{dotted}: this key stands in line {first} already"))
            continue
        found.lines[(*path, key.value)] = line
        content[key.value] = _value(value, (*path, key.value), found)
    return content


def _value(node: yaml.Node, path: Path, found: Document) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, found)
    if isinstance(node, yaml.SequenceNode):
        for place, entry in enumerate(node.value):
            found.lines[(*path, str(place))] = entry.start_mark.line + 1
        return [_value(entry, (*path, str(place)), found) for place, entry in enumerate(node.value)]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError):  # 2026-13-45 looks like a date and is none
        return node.value


def _fill(value: Any, path: Path, document: Document, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(entry, (*path, key), document, environ) for key, entry in value.items()}
    if isinstance(value, list):
        return [_fill(entry, (*path, str(place)), document, environ) for place, entry in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        said = None
        if not _NAME.fullmatch(name):
            said = f"${{{name}}} names no environment variable"
        elif name not in environ:
            said = f"${{{name}}} is used but the environment variable {name} is not set"
        if said is None:
            return environ[name]
        document.unset.add(path)
        document.problems.append((document.line_of(path), f"{'.'.join(path)}: {said}"))
        return ""

    return _VARIABLE.sub(variable, value)
