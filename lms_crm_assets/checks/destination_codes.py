"""The error codes 3xx: what a CRM, as its schema was discovered, would refuse. Such a record is not sent."""

from lms_crm_assets.checks.codes import Code

TOO_LONG = Code(
    "LMS-301",
    "crm_length",
    "The text is longer than the CRM's field.",
    "Lengthen the field in the CRM, set max_length in the contract to have the text cut, or shorten it in the LMS.",
)
NOT_A_CHOICE = Code(
    "LMS-302",
    "crm_picklist",
    "The CRM's picklist has no such value, and takes no other.",
    "Add the value in the CRM, or translate the word with `values` in the contract.",
)
NEEDED = Code(
    "LMS-303",
    "crm_required",
    "The CRM needs a value in a field for which there is none.",
    "Fill the value in the LMS, map the field or give it a constant in the contract, or make it optional in the CRM.",
)
TAKEN = Code(
    "LMS-304",
    "crm_unique",
    "The CRM's field is unique, and another record has or gets the same value.",
    "Correct one of the two in the LMS, or map the value to a field that is not unique.",
)
TOO_LARGE = Code(
    "LMS-305",
    "crm_number",
    "The number has more digits before its point than the CRM's field.",
    "Correct the number in the LMS, or widen the field in the CRM.",
)
UNREADABLE = Code(
    "LMS-306",
    "crm_type",
    "The value is none of the type that the contract gives its field; the field is left alone, the rest is sent.",
    "Mend the value in the LMS, or the field's `from` or `type` in the contract.",
)
WITHOUT_PARENT = Code(
    "LMS-307",
    "crm_parent",
    "The record hangs on another one that is not in the CRM, and is refused itself or of an object that is switched off.",
    "Mend the other record, or clear the switch `only`; this one follows by itself.",
)

PARTLY_REFUSED = Code(
    "LMS-308",
    "crm_incomplete",
    "The field is made of several rows of the LMS, of which one is refused now; it is left as the CRM has it, the rest is sent.",
    "Mend the refused row; the field follows by itself.",
)

DESTINATION_CODES: tuple[Code, ...] = (
    TOO_LONG, NOT_A_CHOICE, NEEDED, TAKEN, TOO_LARGE, UNREADABLE, WITHOUT_PARENT, PARTLY_REFUSED,
)  # fmt: skip
"""In the order of their numbers."""
