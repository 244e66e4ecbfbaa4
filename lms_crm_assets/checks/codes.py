"""The error codes of rows and events: stable, each with its meaning and its remedy.

1xx: one row by itself. 2xx: the row against other rows or against itself as a matter of business. 5xx: no row but an
event, by which a sender tells that rows have changed; `hints` finds these. 3xx and 4xx, of records on their way to the
CRM, stand in `destination_codes` and `delivery_codes`; `catalogue` has them all.
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
KEY_FORMAT = Code(
    "LMS-103",
    "key_format",
    "The row's id is longer than 255 characters or has control characters in it, so that no CRM finds it again.",
    "Give the row an id of its own in the LMS or its export.",
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
ANCIENT = Code(
    "LMS-110",
    "date_is_likely",
    "A date of what has happened lies before 1990: an empty date that became the year 1970 or 1900, most often.",
    "Clear the date in the LMS, or enter the right one.",
)
UNPRINTABLE = Code(
    "LMS-111",
    "printable_name",
    "A name or title has control characters in it, or marks that turn the direction of writing, so that it shows otherwise"
    " than it is.",
    "Type the name anew in the LMS.",
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
PROGRESS = Code(
    "LMS-207",
    "progress_in_range",
    "The progress is less than 0 or more than 100 percent.",
    "Correct the progress in the LMS or its export.",
)
UNFINISHED = Code(
    "LMS-208",
    "completed_is_finished",
    "The course is completed, but its progress is less than 100 percent.",
    "Look at what the course asks for: something was taken out of it, or the completion was set by hand.",
)
BACKWARDS = Code(
    "LMS-209", "ends_after_start", "The end lies before the start.", "Correct one of the two dates in the LMS."
)
EARLY_DATE = Code(
    "LMS-210",
    "dated_when_completed",
    "There is a date of completion, but the course is not completed.",
    "Complete the course for the learner, or clear the date in the LMS.",
)
TRANSITION = Code(
    "LMS-211",
    "known_transition",
    "The status went a way that it can't go: a completion back to not started, or a learner who was in back to invited.",
    "See in the LMS who set it back; if it is meant, the contract can leave the rule off.",
)
UNKNOWN_ENROLLMENT = Code(
    "LMS-212",
    "known_enrollment",
    "The row is of a learner and a course without an enrollment of the two.",
    "Enroll the learner, or leave the rule off where the LMS keeps what somebody did in a course they left.",
)
OWN = Code(
    "LMS-299",
    "own_rule",
    "The row breaks a rule of the tenant's own contract; `rule` is the name that it has there.",
    "What the contract says under `checks.own`, or else mend the row in the LMS.",
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

ROW_CODES: tuple[Code, ...] = (
    REQUIRED, TYPE, KEY_FORMAT, EMAIL, VOCABULARY, DELETED, LENGTH, FORMULA, FUTURE, ANCIENT, UNPRINTABLE,
    DUPLICATE, SHARED_EMAIL, UNKNOWN_LEARNER, UNKNOWN_COURSE, RANGE, ORDER, PROGRESS, UNFINISHED, BACKWARDS, EARLY_DATE,
    TRANSITION, UNKNOWN_ENROLLMENT, OWN,
)  # fmt: skip
"""What a row of the LMS can be refused for, in the order of their numbers."""

EVENT_CODES: tuple[Code, ...] = (EVENT_TYPE, EVENT_UNREADABLE, EVENT_UNKEYED, EVENT_TOO_LARGE, EVENT_UNSEEN)
"""What an event can be parked for."""
