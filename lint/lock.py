"""The lock is what it should be: every package pinned and with hashes, from the index alone, and it fits pyproject.toml.

`python -m lint.lock`. That no known weakness is in it needs a service of advisories: `make audit` asks one.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent

_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
# Licences under which a product that is linked with it would have to be given away; LGPL is none of them.
_BINDING = re.compile(r"(?<!L)(?<!Lesser )\b(AGPL|GPL|SSPL)\b|GNU (Affero )?General Public", re.IGNORECASE)
# Named by their classifiers, and read: what is bound so is not in the package.
_READ = {
    "docutils": "its Emacs mode alone is under the GPL (COPYING.rst), and is in no wheel",
}


def mistakes(lock: str, direct: list[str]) -> Iterator[str]:
    """What is wrong with a lock; `direct` are the requirements of pyproject.toml."""
    pins: dict[str, list[Requirement]] = {}
    hashes: dict[str, int] = {}
    current = ""
    for number, line in enumerate(lock.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("    "):
            if _HASH.fullmatch(line):
                hashes[current] = hashes.get(current, 0) + 1
            else:
                yield f"line {number}: is neither a package nor its sha256"
            continue
        try:
            pin = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            yield f"line {number}: an option or address of its own, where only `name==version` may stand"
            continue
        current = f"{pin.name} (line {number})"
        hashes[current] = 0
        if pin.url or [each.operator for each in pin.specifier] != ["=="] or "*" in str(pin.specifier):
            yield f"line {number}: {pin.name} is not pinned to one version of the index"
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    yield from (f"{name} has no sha256" for name, number in hashes.items() if not number)
    for text in direct:
        need = Requirement(text)
        held = [
            next(iter(pin.specifier)).version for pin in pins.get(canonicalize_name(need.name), []) if pin.specifier
        ]
        if not any(need.specifier.contains(version, prereleases=True) for version in held):
            yield f"{need} of pyproject.toml is not in it (it has {', '.join(held) or 'none'}): make lock"


def bound(licences: Mapping[str, str]) -> Iterator[str]:
    """The packages whose licence doesn't go with ours, of name → licence."""
    for name, text in sorted(licences.items()):
        if _BINDING.search(text) and " OR " not in text and name not in _READ:
            yield f"{name} has the licence {text.splitlines()[0][:60]}, which does not go with Apache-2.0"


def _licences() -> dict[str, str]:
    """What the installed packages say of themselves: an expression, else classifiers, else the first line of the text."""
    found = {}
    for each in distributions():
        told = {name: each.metadata.get_all(name) or [] for name in ("License-Expression", "Classifier", "License")}
        classifiers = [text for text in told["Classifier"] if text.startswith("License ::")]
        first_line = "".join(told["License"][:1]).partition("\n")[0]
        said = "".join(told["License-Expression"][:1]) or "; ".join(classifiers) or first_line
        found[str(each.metadata["Name"])] = said
    return found


def main() -> int:
    """The exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    always = [*project["project"]["dependencies"], *extras["production"], *extras["celery"]]
    # What is developed and tested with, and what the image gets.
    wanted = {
        "requirements.lock": [*always, *groups["dev"], *groups["docs"]],
        "deploy/requirements.lock": [*always, *groups["build"], *extras["otel"], *extras["ducklake"]],
    }
    found = [
        f"{name}: {each}"
        for name, direct in wanted.items()
        for each in mistakes((ROOT / name).read_text(encoding="utf-8"), direct)
    ]
    found.extend(f"requirements.lock: {each}" for each in bound(_licences()))
    for each in found:
        print(each)
    if not found:
        print("The locks are whole: each package pinned, with hashes, and as pyproject.toml asks.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
