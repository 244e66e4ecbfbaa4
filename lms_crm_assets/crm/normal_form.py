"""One spelling for each value, so that the LMS's and the CRM's can be compared as texts.

Text is trimmed, e-mail lower-cased as well, a number has a fixed scale, a moment is in UTC to the second, a boolean is
`true` or `false`; the empty text is null. CRMs normalise in their own ways: both sides are brought to this form.
"""

from lms_crm_assets.contract.spec import FieldSpec
from lms_crm_assets.domain import FieldType

_BLANKS = "chr(9) || chr(10) || chr(13) || ' '"


def normal_form(expression: str, spec: FieldSpec) -> str:
    """SQL that gives the normal form, as text, of an SQL expression of any type."""
    text = f"NULLIF(trim(({expression})::VARCHAR, {_BLANKS}), '')"
    match spec.type:
        case FieldType.TEXT:
            return text
        case FieldType.EMAIL:
            return f"lower({text})"
        case FieldType.NUMBER:
            return f"TRY_CAST({text} AS DECIMAL(24,{spec.scale}))::VARCHAR"
        case FieldType.BOOLEAN:
            return f"TRY_CAST({text} AS BOOLEAN)::VARCHAR"
        case FieldType.DATETIME:
            return f"strftime(timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ)), '%Y-%m-%dT%H:%M:%SZ')"


def without_trailing_zeros(number: str) -> str:
    """`71.80000` as `71.8`, the way a CRM shows it."""
    return number.rstrip("0").rstrip(".") if "." in number else number
