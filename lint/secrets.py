"""No secret lies in the files: detect-secrets' detectors, and those of the systems that we talk to.

`python -m lint.secrets` tells of each that is not known; `--accept` takes those that are there now for no secrets, after a
person has looked at them. Tests and the sandbox are full of made-up secrets: there only what has the shape of a real one
counts. Nothing is sent anywhere to verify it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from detect_secrets.core.plugins.initialize import from_plugin_classname
from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parent.parent
BASELINE = Path(__file__).parent / "secrets.baseline.json"

_MADE_UP = ("tests/", "lms_crm_assets/sandbox/", "lms_crm_assets/demo/", "benchmarks/", "lint/")
# Digests, and what other systems answered, scrubbed when it was recorded.
_NOT_READ = re.compile(r"(^|/)recordings/|\.lock$|\.png$|\.baseline\.json$")
_LONGEST_LINE = 2_000

_SHAPES = [
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCosHmacDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
]
_GUESSES = ["BasicAuthDetector", "JwtTokenDetector", "KeywordDetector"]
# What a line that is guessed at holds at least; the guesses themselves take a millisecond a line.
_WORTH_A_GUESS = re.compile(r"key|pass|pwd|secret|contrase|://[^/]*@|\bey[A-Za-z0-9]", re.IGNORECASE)
# Tokens of the systems that we talk to, which detect-secrets doesn't know.
_OWN = {
    "HubSpot token": re.compile(r"\bpat-(?:na|eu|ap)\d-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "Salesforce session": re.compile(r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{60,}"),
    "Salesforce refresh token": re.compile(r"\b5Aep861[A-Za-z0-9._]{40,}"),
    "Canvas token": re.compile(r"\b\d{1,6}~[A-Za-z0-9]{60,}\b"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Something that looks like a secret; `digest` is of its text, which is kept nowhere."""

    file: str
    line: int
    kind: str
    digest: str


def found_in(name: str, text: str) -> Iterator[Found]:
    """What looks like a secret in one file, line by line; `name` is its path, with `/`."""
    guesses = [] if name.startswith(_MADE_UP) else _GUESSES
    if not guesses and not any(shape.search(text) for shape in (*_shapes(), *_OWN.values())):
        return
    with transient_settings({"plugins_used": [{"name": plugin} for plugin in (*_SHAPES, *guesses)]}):
        for number, line in enumerate(text.splitlines(), 1):
            cut = line[:_LONGEST_LINE]
            if (guesses and _WORTH_A_GUESS.search(cut)) or any(shape.search(cut) for shape in _shapes()):
                for each in scan_line(cut):
                    yield Found(name, number, each.type, _digest(str(each.secret_value)))
            for kind, shape in _OWN.items():
                for match in shape.finditer(cut):
                    yield Found(name, number, kind, _digest(match[0]))


@cache
def _shapes() -> tuple[re.Pattern[str], ...]:
    """What the detectors of real secrets look for."""
    with transient_settings({"plugins_used": [{"name": plugin} for plugin in _SHAPES]}):
        found: list[re.Pattern[str]] = []
        for plugin in _SHAPES:
            found += from_plugin_classname(plugin).denylist
        return tuple(found)


def unknown(found: Iterable[Found], known: Mapping[str, list[str]]) -> list[Found]:
    """Those that nobody has looked at."""
    return [each for each in found if each.digest not in known.get(each.file, ())]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def _files() -> list[str]:
    """Those that git knows or would take; without git all that isn't a machine's own."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603 - our own words
    except (OSError, subprocess.CalledProcessError):
        listed = [file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*") if file.is_file()]
        listed = [name for name in listed if not name.startswith(".") and "__pycache__" not in name]
    return sorted(name for name in listed if not _NOT_READ.search(name))


def _scanned() -> Iterator[Found]:
    for name in _files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # gone just now, or no text
            continue
        yield from found_in(name, text)


def main(*words: str) -> int:
    """The exit code."""
    found = list(_scanned())
    if words == ("--accept",):
        files = {each.file for each in found}
        known = {file: sorted({each.digest for each in found if each.file == file}) for file in sorted(files)}
        BASELINE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(f"{len(found)} places in {len(known)} files are taken for no secrets")
        return 0
    known = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    new = unknown(found, known)
    for each in new:
        print(
            f"{each.file}:{each.line}: {each.kind}: if it is a secret revoke it and take it out; if not, python -m lint.secrets --accept"
        )
    if not new:
        print("No secrets found in the files.")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
