"""What the rules on learners are about, for those who write them a second and a third time."""

EMAIL = r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"
MANGLED = r"@.*\.\d{9,11}$"
FORMULA = r"^\s*(=|[+@-][^\s(|!]*[(|!])"
# Control characters but for tab and line ends, and the marks that turn the direction of writing.
UNPRINTABLE = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F" + "\u202a-\u202e\u2066-\u2069]"
NO_KEY = r"[\x00-\x1F\x7F]"
REQUIRED = ("source_id", "email", "family_name", "status")
WHOLE = ("username", "email", "given_name", "family_name")
SHORT = ("given_name", "family_name")
NAMES = ("given_name", "family_name", "organization")
LONGEST = 255
STATUSES = ["active", "suspended"]
LOST = "\N{REPLACEMENT CHARACTER}"
