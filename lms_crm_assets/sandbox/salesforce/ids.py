"""Record ids: 15 base-62 characters that differ by case, plus 3 that make the 18 safe where case is lost.

Salesforce help, "What is the difference between 15 and 18 character IDs?".
"""

import string

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SUFFIX = string.ascii_uppercase + "012345"
_POD = "5i0"
_SHORT, _LONG, _CHUNK = 15, 18, 5


def record_id(prefix: str, number: int) -> str:
    """The 18-character id of an object's `number`-th record; ids rise with the number."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return with_suffix(prefix + _POD + digits.rjust(_SHORT - len(prefix) - len(_POD), "0"))


def with_suffix(short: str) -> str:
    """A 15-character id with its three check characters: one bit for each upper-case letter of five."""
    chunks = (short[start : start + _CHUNK] for start in range(0, _SHORT, _CHUNK))
    return short + "".join(_SUFFIX[sum(char.isupper() << bit for bit, char in enumerate(chunk))] for chunk in chunks)


def long_id(value: str) -> str | None:
    """The 18-character form of an id of either length; None when it is no id."""
    if not (value.isascii() and value.isalnum()):
        return None
    if len(value) == _SHORT:
        return with_suffix(value)
    return value if len(value) == _LONG and with_suffix(value[:_SHORT]) == value else None
