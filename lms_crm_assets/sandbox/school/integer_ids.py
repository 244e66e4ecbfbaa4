"""Rows by whole numbers, for protocols whose ids are numbers: `lrn-0000012` is 12, and back without a table."""

import re
import zlib

from lms_crm_assets.sandbox.school.layout import ENTITIES, PREFIXES

_OWN = re.compile(rf"({'|'.join(PREFIXES.values())})-([0-9]{{7}})(?:-([12]))?")
# Above all generated numbers, twice that of a score included.
_OTHERS_FROM = 1_000_000_000


def integer_id(row_id: str) -> int:
    """The number of an id. A score's is twice its enrollment's, one less for the course score.

    Any other id, like `crs-gone-0003`, gets one of 1,000,000,000 and more from a hash; such a number leads back to a
    row only if one of that id was made (`Store.row_id`).
    """
    if (own := _OWN.fullmatch(row_id)) is None:
        return _OTHERS_FROM + zlib.crc32(row_id.encode())
    number = int(own[2])
    return number if own[3] is None else 2 * number - 2 + int(own[3])


def generated_id(entity: str, number: int) -> str | None:
    """The id that has the number by its form, whether or not there is such a row."""
    if entity not in ENTITIES or not 0 < number < _OTHERS_FROM:
        return None
    if entity == "scores":
        return f"{PREFIXES[entity]}-{(number + 1) // 2:07d}-{2 - number % 2}"
    return f"{PREFIXES[entity]}-{number:07d}"
