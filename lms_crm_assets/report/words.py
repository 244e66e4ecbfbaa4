"""Numbers, times and names as people read them."""

import re
from datetime import datetime, timedelta

from markupsafe import Markup, escape

_NAMES = {
    "moodle": "Moodle",
    "canvas": "Canvas",
    "oneroster": "OneRoster",
    "thinkific": "Thinkific",
    "changes": "the LMS",
    "salesforce": "Salesforce",
    "hubspot": "HubSpot",
}
_PLURALS = {"competency": "competencies"}
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))


def system(adapter: str) -> str:
    """What an LMS or CRM is called."""
    return _NAMES.get(adapter, adapter)


def sentence(text: str) -> str:
    """A text that begins with a capital."""
    return text[:1].upper() + text[1:]


def plural(name: str) -> str:
    """An object's or an entity's name for many of them."""
    return _PLURALS.get(name, name if name.endswith("s") else f"{name}s")


def counted(number: int, name: str) -> str:
    """So many of something."""
    return f"{number:,} {name if number == 1 else plural(name)}"


def listed(parts: list[str]) -> str:
    """Parts of a sentence, the last one after an `and`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def share(part: float, whole: float) -> str:
    """A share in percent that says 100 % of all alone, and 0 % of nothing alone."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:  # noqa: PLR2004 - one decimal is shown
        return "<0.1 %"
    if part < whole and percent > 99.9:  # noqa: PLR2004 - as above
        return ">99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %")


def moment(at: datetime) -> str:
    """A moment to the minute."""
    return f"{at:%d %b %Y, %H:%M} UTC".lstrip("0")


def duration(span: timedelta) -> str:
    """How long something took, in the two units that matter."""
    seconds = max(0, round(span.total_seconds()))
    found = []
    for name, size in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            found.append(f"{number:,} {name if number == 1 else name + 's'}")
    if not found or (len(found) == 1 and found[0].endswith(("minute", "minutes")) and seconds):
        found.append(f"{seconds} s")
    return " ".join(found[:2])


def with_code(text: str) -> Markup:
    """A text in which what stands between backquotes is shown as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped
