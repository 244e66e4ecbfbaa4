"""Showing values to people: personal ones masked, long ones shortened."""

_CELL = 80


def masked(value: str | None) -> str:
    """A personal value as its first character and its length."""
    if value is None or not value.strip():
        return "(empty)"
    return f"{value[0]}… ({len(value)} characters)"


def shortened(value: str | None) -> str:
    """A value that fits a table cell."""
    if value is None or not value.strip():
        return "(empty)"
    return value if len(value) <= _CELL else f"{value[: _CELL - 1]}…"


def safe_key(key: str | None) -> str:
    """A record's key for a table; one that is made of learner data is masked."""
    if key is None:
        return "(none)"
    return masked(key) if "@" in key or key.startswith(("username=", "idnumber=")) else key
