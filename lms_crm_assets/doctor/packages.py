"""Python and the packages: what is installed beside what the lock names."""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lms_crm_assets.doctor.verdict import Verdict, fail, ok, warn

_PRODUCT = "lms-crm-assets"
_NAMED = 5
_LEAST_PYTHON = (3, 11)


def locked(text: str) -> dict[str, str]:
    """Version by package of a lock in pip's format, of the lines that count on this machine."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line or line[0] in " #-":
            continue
        try:
            pin = Requirement(line.rstrip(" \\"))
        except InvalidRequirement:
            continue
        if pin.marker is None or pin.marker.evaluate():
            found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def needed() -> list[Requirement]:
    """What the product needs at run time on this machine."""
    found = [Requirement(text) for text in requires(_PRODUCT) or ()]
    return [need for need in found if need.marker is None or need.marker.evaluate({"extra": ""})]


def installed(name: str) -> str | None:
    """The installed version, None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def packages(
    needs: list[Requirement],
    lock: Mapping[str, str] | None,
    installed: Callable[[str], str | None],
    python: tuple[int, ...] = sys.version_info[:3],
) -> Iterator[Verdict]:
    """Whether what is needed is there, and whether it is what was tested; `lock` is None where the file isn't at hand."""
    running = ".".join(map(str, python))
    if python < _LEAST_PYTHON:
        yield fail("python", f"is {running}", "install Python 3.11 or newer")
    else:
        yield ok("python", running)
    missing, unfit = [], []
    for need in needs:
        found = installed(need.name)
        if found is None:
            missing.append(need.name)
        elif not need.specifier.contains(found, prereleases=True):
            unfit.append(f"{need.name} {found} (needs {need.specifier})")
    if missing or unfit:
        told = [f"{', '.join(missing)} missing"] if missing else []
        yield fail("packages", "; ".join([*told, *unfit]), "make setup, or pip install -r requirements.lock")
        return
    if lock is None:
        yield ok("packages", f"{len(needs)} needed ones are there; no requirements.lock here to compare them with")
        return
    others = sorted(
        f"{name} {found} (locked {wanted})"
        for name, wanted in lock.items()
        if (found := installed(name)) is not None and found != wanted
    )
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        yield warn(
            "packages",
            f"not the tested versions: {', '.join(others[:_NAMED])}{more}",
            "pip install --require-hashes -r requirements.lock",
        )
    else:
        yield ok("packages", f"as requirements.lock says; duckdb {installed('duckdb')}, dagster {installed('dagster')}")
