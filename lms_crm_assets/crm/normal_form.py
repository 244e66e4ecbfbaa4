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
# width. Written out, for each `chr(…)` of a long query would cost some microseconds to plan.
_BLANKS = "\t\n\v\f\r \x85\xa0\u200b\u2028\u2029\u3000\ufeff"
_ALL_BLANKS, _BEYOND_ASCII = literal(_BLANKS), literal(_BLANKS[6:])
# A double, which CRMs keep numbers in, holds so many digits for sure.
_SURE_DIGITS = 15
# Not in ISO 3166-1's list, but what people write.
_COMMON_COUNTRIES = {"uk": "GB", "great britain": "GB", "england": "GB", "usa": "US", "russia": "RU", "turkey": "TR"}


def normal_form(column: str, spec: FieldSpec) -> str:
    """SQL that gives the normal form, as text, of a column of any type. Say a column: it is named many times.

    What reads at once must not come to the trimmed text, which costs more than all the rest. DuckDB works out ahead, for
    every row, what an expression names twice, but for what stands behind the first condition of a CASE.
    """
    quick, text = f"{column}::VARCHAR", f"NULLIF(trim({column}::VARCHAR, {_ALL_BLANKS}), '')"
    match spec.type:
        case FieldType.TEXT:
            return _normalised(_trimmed(quick), spec.normalisers)
        case FieldType.EMAIL:
            return _normalised(f"lower({_trimmed(quick)})", spec.normalisers)
        case FieldType.NUMBER:
            narrow, limit = _narrow(quick, spec.scale), _limit(spec.scale)
            return (
                f"CASE WHEN {narrow} BETWEEN -{limit} AND {limit} THEN {narrow}::VARCHAR"
                f" ELSE coalesce({_number(text, spec.scale)}::VARCHAR, {text}) END"
            )
        case FieldType.BOOLEAN:
            # A checkbox has no third state: where the LMS has the last word, unknown is unticked.
            unknown = ", 'false'" if spec.owner is Owner.ENFORCE else ""
            return (
                f"CASE WHEN {quick} IN ('true', 'false') THEN {quick}"
                f" ELSE coalesce(TRY_CAST({text} AS BOOLEAN)::VARCHAR, {text}{unknown}) END"
            )
        case FieldType.DATETIME:
            form = "%Y-%m-%d" if "date" in spec.normalisers else "%Y-%m-%dT%H:%M:%SZ"
            # Quicker than `timezone('UTC', …)`, which asks a calendar.
            as_read, as_trimmed = (
                f"strftime(make_timestamp(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ))), '{form}')"
                for value in (column, text)
            )
            return f"CASE WHEN {column} IS NOT NULL THEN coalesce({as_read}, {as_trimmed}, {text}) END"


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


def _narrow(text: str, scale: int) -> str:
    """A decimal of up to 18 digits fits a machine word and is read a hundred times faster than a wider one."""
    return f"TRY_CAST({text} AS DECIMAL(18,{scale}))"


def _limit(scale: int) -> int:
    return int(10 ** (_SURE_DIGITS - scale))


def _number(text: str, scale: int) -> str:
    """The text as a decimal of fixed scale, null where it is none.

    A number with more digits than a double holds for sure is rounded to what a double makes of it.
    """
    narrow, limit = _narrow(text, scale), _limit(scale)
    wide = f"TRY_CAST({text} AS DECIMAL(24,{scale}))"
    large = f"TRY_CAST(TRY_CAST({text} AS DOUBLE)::VARCHAR AS DECIMAL(24,{scale}))"
    return f"CASE WHEN {narrow} BETWEEN -{limit} AND {limit} THEN {narrow}::DECIMAL(24,{scale}) ELSE coalesce({large}, {wide}) END"


def _trimmed(text: str) -> str:
    """The text with Unix line ends and no blanks at its ends, null when nothing is left.

    Most texts are so already, which costs less to see than to do.
    """
    at_the_start = f"{text} < '!' OR ({text} > '~' AND contains({_BEYOND_ASCII}, left({text}, 1)))"
    at_the_end = " OR ".join(f"suffix({text}, {literal(blank)})" for blank in _BLANKS)
    unix = f"replace(replace({text}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
    return (
        f"CASE WHEN {at_the_start} OR contains({text}, chr(13)) OR {at_the_end}"
        f" THEN NULLIF(trim({unix}, {_ALL_BLANKS}), '') ELSE {text} END"
    )


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
