"""What stands for a value in a recording: something of the same kind, the same for the same value, of no use elsewhere.

Texts become an HMAC with a key that nobody keeps. Numbers that are ids are mapped by a secret straight line instead, for
Moodle's people have to come in the order of their ids; moments all move by the same number of weeks, so that what was
before stays before and a Monday a Monday.
"""

import hashlib
import hmac
import html
import re
from datetime import date, datetime, timedelta

# From here on the line would leave what every JSON parser holds exactly.
_TOO_LARGE = 10**14
_EPOCH_FROM, _EPOCH_TO = 946_684_800, 4_102_444_800  # 2000 to 2100
_NOTHING_SAID = re.compile(r"[\W_]*")
_EMAIL = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_MANGLED = re.compile(r"(.*@.*)\.(\d{9,11})", re.DOTALL)
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)([T ][0-9:.]+ ?(?:Z|[+-]\d\d:?\d\d)?)?")
_DIGITS = re.compile(r"[1-9]\d{0,18}", re.ASCII)
_FIGURE = re.compile(r"-?\d{1,4}[.,]\d{1,5} ?%?|-?\d{1,3} ?%|0", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{32,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# As reports of Moodle write them: Friday, 3 May 2024, 10:00 AM.
_SPOKEN = re.compile(r"[A-Z][a-z]+, \d{1,2} [A-Z][a-z]+ \d{4}, \d{1,2}:\d\d [AP]M")
_SPOKEN_FORMAT = "%A, %d %B %Y, %I:%M %p"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)


class Pseudonyms:
    """The pseudonyms of one recording."""

    def __init__(self, key: bytes) -> None:
        """`key`: random, of this recording alone."""
        self._key = key
        seed = int(self._hash("the line and the weeks", 24), 16)
        self._factor, seed = 3 + seed % 7, seed // 7
        self._summand, seed = 10_000_000 + seed % 10_000_000, seed // 10_000_000
        self._moved = timedelta(weeks=-(4 + seed % 96))

    def text(self, value: str) -> str:
        """The pseudonym of a text: an e-mail of an e-mail, a number of a number, a date of a date."""
        plain = html.unescape(value).strip()
        if _NOTHING_SAID.fullmatch(plain) or _FIGURE.fullmatch(plain):
            return value
        return self._of_kind(plain) or self.opaque(value)

    def opaque(self, value: str) -> str:
        """A word that tells nothing, not even of what kind the text is; an empty text stays."""
        plain = html.unescape(value).strip()
        return f"text-{self._hash(plain, 12)}" if plain else value

    def number(self, value: int) -> int:
        """The pseudonym of an id."""
        if value <= 0:
            return value
        if value >= _TOO_LARGE:
            return 10**15 + int(self._hash(str(value), 12), 16)
        return self._factor * value + self._summand

    def moment(self, value: int) -> int | None:
        """The pseudonym of a moment in seconds or milliseconds since 1970; None of what is none of this century."""
        if _EPOCH_FROM <= value < _EPOCH_TO:
            return value + int(self._moved.total_seconds())
        if _EPOCH_FROM * 1000 <= value < _EPOCH_TO * 1000:
            return value + int(self._moved.total_seconds()) * 1000
        return None

    def _of_kind(self, plain: str) -> str | None:
        """The pseudonym of what has a form of its own; None for any other text."""
        if _DIGITS.fullmatch(plain):
            return str(self.number(int(plain)))
        if found := _MANGLED.fullmatch(plain):
            return f"{self.text(found[1])}.{self.moment(int(found[2])) or int(found[2])}"
        if _EMAIL.fullmatch(plain):
            return f"somebody-{self._hash(plain.lower(), 12)}@example.org"
        if _URL.fullmatch(plain):
            return f"https://elsewhere.example/{self._hash(plain, 12)}"
        if _UUID.fullmatch(plain):
            digest = self._hash(plain.lower(), 32)
            return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
        if _HEX.fullmatch(plain):
            return self._hash(plain, len(plain))
        return self._date(plain)

    def _date(self, plain: str) -> str | None:
        try:
            if found := _DATE.fullmatch(plain):
                return f"{date.fromisoformat(found[1]) + self._moved}{found[2] or ''}"
            if _SPOKEN.fullmatch(plain):
                # No zone is told, and none is needed: whole weeks.
                said = datetime.strptime(plain, _SPOKEN_FORMAT) + self._moved  # noqa: DTZ007 - as above
                return f"{said:%A}, {said.day} {said:%B %Y}, {said:%I:%M %p}"
        except (ValueError, OverflowError):
            pass
        return None

    def _hash(self, text: str, digits: int) -> str:
        """Hex digits, as many as are wanted."""
        found, n = "", 0
        while len(found) < digits:
            found += hmac.new(self._key, f"{n} {text}".encode(), hashlib.sha256).hexdigest()
            n += 1
        return found[:digits]
