"""The catalogue of error codes: stable, each with its meaning and its remedy.

1xx: one row by itself. 2xx: the row against other rows or against itself as a matter of business. 5xx: no row but an
event, by which a sender tells that rows have changed; `hints` finds these.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One way for a row or an event to be invalid."""

    code: str
    rule: str
    meaning: str
    remedy: str


REQUIRED = Code("LMS-101", "required_value", "A value that the row needs is missing.", "Fill the value in the LMS.")
TYPE = Code(
    "LMS-102",
    "readable_value",
    "A value can't be read as a number, date or yes/no, or a character of it is broken.",
    "Mend the value in the LMS or its export.",
)
EMAIL = Code("LMS-104", "email_format", "The e-mail address is malformed.", "Correct the address in the LMS.")
VOCABULARY = Code(
    "LMS-105",
    "known_word",
    "A status or type is none of the known words.",
    "Map the word in the adapter, or mend the LMS.",
)
DELETED = Code(
    "LMS-106",
    "living_account",
    "The LMS gives a deleted account with a mangled user name.",
    "Nothing, or purge the account in the LMS; it must not reach the CRM.",
)
LENGTH = Code(
    "LMS-107",
    "name_length",
    "A name is longer than 255 characters.",
    "Correct the name in the LMS; something else was written into its field.",
)
FORMULA = Code(
    "LMS-108",
    "no_formula",
    "A name or title begins like a spreadsheet's formula, which would run where somebody opens an export.",
    "Correct the name in the LMS, and see who wrote it.",
)
FUTURE = Code(
    "LMS-109",
    "date_has_been",
    "A date of what has happened lies more than two years ahead.",
    "Correct the date in the LMS, or the clock that stamped it.",
)
DUPLICATE = Code("LMS-201", "unique_key", "Two rows have the same key.", "Remove the copy in the LMS.")
SHARED_EMAIL = Code(
    "LMS-202",
    "unique_email",
    "Several learners share one e-mail address.",
    "Give each learner an address, or merge them.",
)
UNKNOWN_LEARNER = Code(
    "LMS-203",
    "known_learner",
    "The row belongs to a learner that the LMS doesn't give, or that was itself refused.",
    "Mend the learner; this row follows by itself.",
)
UNKNOWN_COURSE = Code(
    "LMS-204",
    "known_course",
    "The row belongs to a course that the LMS doesn't give, or that was itself refused.",
    "Mend the course; this row follows by itself.",
)
RANGE = Code("LMS-205", "score_in_range", "The score lies outside its own range.", "Correct the grade or its range.")
ORDER = Code(
    "LMS-206",
    "completed_after_enrolled",
    "The completion is older than the enrollment.",
    "Correct one of the two dates in the LMS.",
)

EVENT_TYPE = Code(
    "LMS-501",
    "known_event",
    "The event's type tells of nothing that is synced.",
    "Take the type out of what the sender sends, or leave it: what it told of comes with the next pull.",
)
EVENT_UNREADABLE = Code(
    "LMS-502",
    "readable_event",
    "The delivery is verified, but it or an id in it can't be read.",
    "See what was sent and set the sender's format right; until then what it told of comes with the next pull.",
)
EVENT_UNKEYED = Code(
    "LMS-503",
    "keyed_event",
    "The event doesn't tell by ids which row it is about, only by a name or an address, or not at all.",
    "Let the sender send ids, see the LMS's page; until then what it told of comes with the next pull.",
)
EVENT_TOO_LARGE = Code(
    "LMS-504",
    "bounded_event",
    "The delivery names more than 10,000 rows; those beyond were left out.",
    "Let the sender send fewer at once; those that were left out come with the next pull.",
)
EVENT_UNSEEN = Code(
    "LMS-505",
    "visible_row",
    "The LMS doesn't show the row that the event is about, and it never did; the event is tried ten times.",
    "Nothing if the change was undone; otherwise let the account of the LMS's credential see the row.",
)

CATALOGUE: dict[str, Code] = {
    code.code: code
    for code in (
        REQUIRED, TYPE, EMAIL, VOCABULARY, DELETED, LENGTH, FORMULA, FUTURE,
        DUPLICATE, SHARED_EMAIL, UNKNOWN_LEARNER, UNKNOWN_COURSE, RANGE, ORDER,
        EVENT_TYPE, EVENT_UNREADABLE, EVENT_UNKEYED, EVENT_TOO_LARGE, EVENT_UNSEEN,
    )
}  # fmt: skip
