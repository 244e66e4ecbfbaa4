"""What all simulators share that serve a generated school: the control routes' half of them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar

from lms_crm_assets.sandbox.core import SandboxRequestError, Stats
from lms_crm_assets.sandbox.school.layout import ENTITIES, Row, Size
from lms_crm_assets.sandbox.school.options import Options
from lms_crm_assets.sandbox.school.store import Store

_SIZES = {field.name for field in fields(Size)}

Settings = TypeVar("Settings", bound=Options)


class SchoolBacked(Generic[Settings]):
    """The rows of a `Store`, and options; a protocol is added by who inherits it."""

    lists_fewer = True

    def __init__(self, size: Size, options: Settings) -> None:
        """Compute the school's measures; its rows come when they are asked for."""
        self.stats = Stats()
        self._size = size
        self._initial = options
        self.options = options
        self.store = Store(size)

    def records(self, kind: str) -> list[Row]:
        """The live rows of an entity of the school, as the school has them."""
        if kind not in ENTITIES:
            raise SandboxRequestError(f"there is no {kind!r}")
        return [row for _, row in self.store.rows(kind)]

    def mutate(self, change: Mapping[str, Any]) -> Row:
        """See `Store.mutate`."""
        return self.store.mutate(change)

    def reset(self, options: Mapping[str, Any]) -> None:
        """A school anew, with the parameters and options of the start and those given here."""
        chosen = self._initial.changed({name: value for name, value in options.items() if name not in _SIZES})
        try:
            sizes = {name: value for name, value in options.items() if name in _SIZES}
            store = Store(replace(self._size, **sizes))
        except (TypeError, ValueError) as exc:
            raise SandboxRequestError(str(exc)) from exc
        self.store, self.options = store, chosen

    def configure(self, options: Mapping[str, Any]) -> None:
        """Change options from now on; the rows stay."""
        self.options = self.options.changed(options)

    def dump(self) -> Row:
        """The parameters and the changed rows."""
        return self.store.dump()

    def load(self, state: Any) -> None:
        """Take up what `dump` gave."""
        self.store = Store.load(state)
