r"""The filters of the report builder (`core_reportbuilder\local\filters`): of dates and of texts.

Filters of columns that the report doesn't have, and those with an operator or a value that can't be, are ignored,
without a word. Of the operators for dates those relative to today are not simulated.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lms_crm_assets.sandbox.moodle.rest import php_int
from lms_crm_assets.sandbox.moodle.tables import Row

_TEXTS = {"user:username", "user:email", "user:idnumber"}
# Operators of `date`.
_NOT_EMPTY, _EMPTY, _RANGE = 1, 2, 3
# Operators of `text`, those that compare; case is ignored.
_COMPARE: Mapping[int, Callable[[str, str], bool]] = {
    1: lambda own, wanted: wanted in own,
    2: lambda own, wanted: wanted not in own,
    3: lambda own, wanted: own == wanted,
    4: lambda own, wanted: own != wanted,
    5: lambda own, wanted: own.startswith(wanted),
    6: lambda own, wanted: own.endswith(wanted),
}
_TEXT_EMPTY, _TEXT_NOT_EMPTY = 7, 8


def keeping(name: str, filters: Row) -> Callable[[Any], bool] | None:
    """Which values of a column the filters keep, None being NULL, which no comparison keeps; None: all."""
    if f"{name}_operator" not in filters:
        return None
    return (_text if name in _TEXTS else _date)(name, filters)


def _date(name: str, filters: Row) -> Callable[[int | None], bool] | None:
    operator = php_int(filters[f"{name}_operator"])
    if operator == _NOT_EMPTY:
        return bool
    if operator == _EMPTY:
        return lambda value: not value
    start, end = (php_int(filters.get(f"{name}_{bound}")) for bound in ("from", "to"))
    if operator != _RANGE or not (start > 0 or end > 0):
        return None
    least, past = (start if start > 0 else float("-inf")), (end if end > 0 else float("inf"))
    return lambda value: value is not None and least <= value < past


def _text(name: str, filters: Row) -> Callable[[Any], bool] | None:
    operator = php_int(filters[f"{name}_operator"])
    if operator == _TEXT_NOT_EMPTY:
        return bool
    if operator == _TEXT_EMPTY:
        return lambda value: not value
    wanted = str(filters.get(f"{name}_value") or "").strip().lower()
    if operator not in _COMPARE or not wanted:
        return None
    compare = _COMPARE[operator]
    return lambda value: value is not None and compare(str(value).lower(), wanted)
