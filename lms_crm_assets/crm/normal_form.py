"""One spelling for each value, so that the LMS's and the CRM's can be compared as texts.

Text is trimmed and has Unix line ends, e-mail is lower-cased as well, a number has a fixed scale, a moment is in UTC to
the second, a boolean is `true` or `false`; the empty text is null. What can't be read as its type stays the text that it
is: it differs from every readable value, and `is_readable` keeps it from being written. CRMs normalise in their own ways:
both sides are brought to this form.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache

from lms_crm_assets.contract.spec import FieldSpec
from lms_crm_assets.domain import FieldType, Owner
from lms_crm_assets.warehouse.sql import literal, quoted

# What one CRM or the other takes away at the ends of a text: control blanks, no-break and full-width ones, marks of no
# width.
_BLANKS = tuple(f"chr({code})" for code in (9, 10, 11, 12, 13, 32, 133, 160, 8203, 8232, 8233, 12288, 65279))
_BEYOND_ASCII, _ALL_BLANKS = _BLANKS[6:], " || ".join(_BLANKS)
# A double, which CRMs keep numbers in, holds so many digits for sure.
_SURE_DIGITS = 15
# Not in ISO 3166-1's list, but what people write.
_COMMON_COUNTRIES = {"uk": "GB", "great britain": "GB", "england": "GB", "usa": "US", "russia": "RU", "turkey": "TR"}


def normal_form(column: str, spec: FieldSpec) -> str:
    """SQL that gives the normal form, as text, of a column of any type. Say a column: it is named many times."""
    # What reads at once never comes to the trimmed text.
    quick, text = f"{column}::VARCHAR", f"NULLIF(trim({column}::VARCHAR, {_ALL_BLANKS}), '')"
    match spec.type:
        case FieldType.TEXT:
            return _normalised(_trimmed(quick), spec.normalisers)
        case FieldType.EMAIL:
            return _normalised(f"lower({_trimmed(quick)})", spec.normalisers)
        case FieldType.NUMBER:
            return f"coalesce({_number(quick, spec.scale)}::VARCHAR, {_number(text, spec.scale)}::VARCHAR, {text})"
        case FieldType.BOOLEAN:
            truth = f"coalesce(TRY_CAST({quick} AS BOOLEAN)::VARCHAR, TRY_CAST({text} AS BOOLEAN)::VARCHAR, {text})"
            # A checkbox has no third state: where the LMS has the last word, unknown is unticked.
            return f"coalesce({truth}, 'false')" if spec.owner is Owner.ENFORCE else truth
        case FieldType.DATETIME:
            form = "%Y-%m-%d" if "date" in spec.normalisers else "%Y-%m-%dT%H:%M:%SZ"
            moment = f"coalesce(TRY_CAST({column} AS TIMESTAMPTZ), TRY_CAST({text} AS TIMESTAMPTZ))"
            # Quicker than `timezone('UTC', …)`, which asks a calendar.
            return f"coalesce(strftime(make_timestamp(epoch_us({moment})), '{form}'), {text})"


def normal_forms(fields: Mapping[str, FieldSpec]) -> str:
    """SQL of each field's normal form under its own name, from columns of these names."""
    return ", ".join(f"{normal_form(quoted(name), field)} AS {quoted(name)}" for name, field in fields.items())


def is_readable(column: str, spec: FieldSpec) -> str:
    """SQL of whether a value in normal form, not null, is one of the field's type."""
    match spec.type:
        case FieldType.NUMBER:
            return f"TRY_CAST({column} AS DECIMAL(24,{spec.scale})) IS NOT NULL"
        case FieldType.BOOLEAN:
            return f"{column} IN ('true', 'false')"
        case FieldType.DATETIME:
            # Beyond these years it is a slip (`03-04-24`), and Salesforce refuses it.
            return f"TRY_CAST({column} AS TIMESTAMPTZ) IS NOT NULL AND regexp_matches({column}, '^(1[7-9]|[23][0-9])[0-9]{{2}}-')"
        case _:
            return "true"


def _number(text: str, scale: int) -> str:
    """The text as a decimal of fixed scale, null where it is none.

    A decimal of up to 18 digits fits a machine word and is read a hundred times faster than a wider one. A number with
    more digits than a double holds for sure is rounded to what a double makes of it.
    """
    wide, narrow = (f"TRY_CAST({text} AS DECIMAL({digits},{scale}))" for digits in (24, 18))
    large = f"TRY_CAST(TRY_CAST({text} AS DOUBLE)::VARCHAR AS DECIMAL(24,{scale}))"
    limit = 10 ** (_SURE_DIGITS - scale)
    return f"CASE WHEN {narrow} BETWEEN -{limit} AND {limit} THEN {narrow}::DECIMAL(24,{scale}) ELSE coalesce({large}, {wide}) END"


def _trimmed(text: str) -> str:
    """The text with Unix line ends and no blanks at its ends, null when nothing is left.

    Most texts are so already, which costs less to see than to do.
    """
    marks = [f"{text} < '!'", f"contains({text}, chr(13))", *(f"suffix({text}, {blank})" for blank in _BLANKS)]
    marks += [f"prefix({text}, {blank})" for blank in _BEYOND_ASCII]
    unix = f"replace(replace({text}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
    return f"CASE WHEN {' OR '.join(marks)} THEN NULLIF(trim({unix}, {_ALL_BLANKS}), '') ELSE {text} END"


def without_trailing_zeros(number: str) -> str:
    """`71.80000` as `71.8`, the way a CRM shows it."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def _normalised(text: str, normalisers: tuple[str, ...]) -> str:
    """The text with its normalisers applied in their order; choices are sorted when their words are what they will be."""
    for name in sorted(normalisers, key=lambda name: name == "choices"):
        match name:
            case "lower":
                text = f"lower({text})"
            case "upper":
                text = f"upper({text})"
            case "choices":
                text = _choices(text)
            case "country":
                text = _country(text)
    return text


def _choices(text: str) -> str:
    """The words between semicolons, each once, sorted: CRMs give a multiple choice back in an order of their own."""
    words = f"list_transform(string_split({text}, ';'), lambda word: trim(word, {_ALL_BLANKS}))"
    return f"NULLIF(array_to_string(list_sort(list_distinct(list_filter({words}, lambda word: word <> ''))), ';'), '')"


def _country(text: str) -> str:
    """Alpha-2 for a country's name or code in any case, with or without accents; another text stays as it is.

    Most values are alpha-2 already and never reach the map, which is searched entry by entry (0.4 µs a row).
    """
    return (
        f"CASE WHEN regexp_full_match({text}, '[A-Za-z]{{2}}') AND upper({text}) <> 'UK' THEN upper({text})"
        f" ELSE COALESCE({_countries()}[strip_accents(lower({text}))], {text}) END"
    )


@cache
def _countries() -> str:
    """SQL of a map from the names and alpha-3 codes of ISO 3166-1 to its alpha-2 codes."""
    import pycountry  # noqa: PLC0415 - reads its tables; only tenants with a country field need it

    known = dict(_COMMON_COUNTRIES)
    for country in pycountry.countries:
        for attribute in ("alpha_3", "name", "common_name", "official_name"):
            name = getattr(country, attribute, None)
            if name:
                known[_plain(name)] = country.alpha_2
    return "MAP {" + ", ".join(f"{literal(name)}: {literal(code)}" for name, code in known.items()) + "}"


def _plain(name: str) -> str:
    """As DuckDB's `strip_accents(lower(…))` has it."""
    return "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
