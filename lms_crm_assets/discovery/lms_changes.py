"""How the shape of the LMS's records differs from what was accepted, and what that means for the adapter."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum

import duckdb

from lms_crm_assets.discovery.changes import Effect, change_text
from lms_crm_assets.discovery.lms_shape import Shape, is_read, newest_shape, shape_baseline, shapes_since_accepted
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.attributes import Attributes, passes_payload_on, read_attributes

# An attribute that fewer records have may be missing for a day without having gone.
_USUAL = 0.5


class ShapeChange(StrEnum):
    """What can happen to an attribute of the LMS's records."""

    GONE = "attribute gone"
    TYPE = "type changed"
    NEW = "new attribute"


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One change of an attribute, by its path."""

    change: ShapeChange
    attribute: str
    before: str
    after: str
    effect: Effect
    remedy: str

    @property
    def identity(self) -> tuple[ShapeChange, str]:
        """What makes it the same change on another day."""
        return self.change, self.attribute

    @property
    def row(self) -> dict[str, str]:
        """The change as plain texts, for tables and programs."""
        return {name: f"{value}" for name, value in asdict(self).items()}

    @property
    def text(self) -> str:
        """The change as one line, without its entity."""
        return change_text(self.attribute, self.change, self.before, self.after)


@dataclass(frozen=True, slots=True)
class StandingShape:
    """A change that nobody accepted yet, and the first day since which it was always seen."""

    change: AttributeChange
    since: date

    @property
    def row(self) -> dict[str, str]:
        """The change as plain texts, with its first day."""
        return {**self.change.row, "since": f"{self.since}"}


def compare_shapes(before: Shape, after: Shape, read: Attributes, *, unread: str) -> list[AttributeChange]:
    """The changes from one shape to another, gravest first; `unread` says what becomes of attributes that no adapter reads.

    What lies within an attribute that came or went isn't told of again.
    """
    found = [*_gone(before, after, read), *_new(before, after, read, unread), *_types(before, after, read)]
    grades = list(Effect)
    return sorted(found, key=lambda each: (grades.index(each.effect), each.attribute))


def standing_shapes(
    con: duckdb.DuckDBPyConnection, entity: LmsEntity, adapter: str, *, keeps_unknown: bool
) -> list[StandingShape]:
    """The changes of an entity's records since its baseline, gravest first."""
    accepted, now = shape_baseline(con, entity), newest_shape(con, entity)
    if accepted is None or now is None:
        return []
    read, unread = read_attributes(adapter, entity), fate(adapter, entity, keeps_unknown=keeps_unknown)
    found = compare_shapes(accepted.shape, now.shape, read, unread=unread)
    since = {change.identity: now.at.date() for change in found}
    left = set(since)
    for day, shape in shapes_since_accepted(con, entity, accepted) if found else ():
        left &= {change.identity for change in compare_shapes(accepted.shape, shape, read, unread=unread)}
        if not left:
            break
        since |= dict.fromkeys(left, day)
    return [StandingShape(change, since[change.identity]) for change in found]


def fate(adapter: str, entity: LmsEntity, *, keeps_unknown: bool) -> str:
    """What becomes of the attributes of an entity that its adapter doesn't read."""
    return "kept in extra" if keeps_unknown and passes_payload_on(adapter, entity) else "ignored"


def unread_attributes(shape: Shape, read: Attributes) -> list[str]:
    """The attributes that arrive and that no adapter reads, but for those within another one."""
    return [path for path in _outermost(shape.attributes, frozenset()) if not is_read(path, read)]


def _gone(before: Shape, after: Shape, read: Attributes) -> Iterator[AttributeChange]:
    for path in _outermost(before.attributes, after.attributes.keys()):
        was = before.attributes[path]
        usual = is_read(path, read) and was.records >= _USUAL * before.records
        yield AttributeChange(
            ShapeChange.GONE,
            path,
            f"in {was.records} of {before.records} records",
            f"in none of {after.records}",
            Effect.ALERT if usual else Effect.NOTE,
            "see whether the LMS was updated or the credential sees less: the adapter reads it, and rows lack it now"
            if usual
            else "nothing; few records had it, or the adapter does not read it",
        )


def _new(before: Shape, after: Shape, read: Attributes, unread: str) -> Iterator[AttributeChange]:
    for path in _outermost(after.attributes, before.attributes.keys()):
        known = is_read(path, read)
        yield AttributeChange(
            ShapeChange.NEW,
            path,
            "",
            f"{_typed(after, path)}, {'read by the adapter' if known else unread}",
            Effect.NOTE,
            "nothing"
            if known or unread != "ignored"
            else "nothing; to map it set 'unknown_attributes: keep' and name it as extra->>'…'",
        )


def _types(before: Shape, after: Shape, read: Attributes) -> Iterator[AttributeChange]:
    for path, now in after.attributes.items():
        was = before.attributes.get(path)
        # Where everything was null no type is known.
        if was is None or not was.types or set(now.types) <= set(was.types):
            continue
        known = is_read(path, read)
        yield AttributeChange(
            ShapeChange.TYPE,
            path,
            _typed(before, path),
            _typed(after, path),
            Effect.ALERT if known else Effect.NOTE,
            "look at the quarantine: rows whose value can't be read as before are refused"
            if known
            else "nothing; the adapter does not read it",
        )


def _outermost(paths: Iterable[str], others: Collection[str]) -> list[str]:
    """The paths that are not among the others, without those that lie within one of them."""
    found: list[str] = []
    for path in sorted(paths):
        within = path.rpartition(".")[0]
        if path not in others and (not within or within in others or within not in paths):
            found.append(path)
    return found


def _typed(shape: Shape, path: str) -> str:
    return " or ".join(shape.attributes[path].types) or "null"
