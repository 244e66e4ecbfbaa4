"""Nothing can be set or called that no document names, and no document names what isn't there.

What has tests of its own: codes and alerts (`test_docs`), figures (`test_observability`), the contract's keys
(`contract/test_documents`).
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from markdown_it import MarkdownIt
from pydantic import BaseModel
from typer.main import get_command

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.cli.app import app
from lms_crm_assets.cli.reference import FILE, commands_text
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.settings import VARIABLES

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

_PARSER = MarkdownIt("commonmark").enable("table")
_SETTING = re.compile(r"\bLMS_CRM_[A-Z][A-Z_]*[A-Z]\b")
# How the package reads a variable of whatever name; those that a contract names are none of ours.
_READ = re.compile(r"environ\.(?:get|setdefault)\(\"(\w+)\"|environ\[\"(\w+)\"\]|\"((?:motherduck|MOTHERDUCK)_\w+)\"")


def _sources(*folders: str, without: str = "") -> str:
    files = (file for folder in folders for file in sorted((ROOT / folder).rglob("*")) if file.is_file())
    return "\n".join(
        file.read_text(encoding="utf-8")
        for file in files
        if file.suffix in {".py", ".yaml", ".example", ""} and file.name != without
    )


def _documented() -> list[str]:
    return [
        name
        for cell in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", SETTINGS, re.MULTILINE)
        for name in re.findall(r"\w+", cell)
    ]


def test_the_page_of_commands_is_made_of_the_commands() -> None:
    assert FILE.read_text(encoding="utf-8") == commands_text(), "run: python -m lms_crm_assets.cli.reference"


def test_every_setting_is_documented_and_no_other() -> None:
    # `settings.py` lists all that are read, and reads three of them itself.
    read = set(_SETTING.findall(_sources("lms_crm_assets", "deploy", without="settings.py")))
    read |= {"LMS_CRM_STATE_DIR", "LMS_CRM_TENANTS_DIR", "LMS_CRM_WAREHOUSE"}
    others = {name for found in _READ.findall(_sources("lms_crm_assets")) for name in found if name} - read

    assert {"LMS_CRM_KEY_FILE", "LMS_CRM_IMAGE"} <= read
    assert {"DAGSTER_HOME", "PGHOST"} <= others
    assert sorted(_documented()) == sorted(read | others)
    assert sorted(VARIABLES) == sorted(read)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_a_document_names_no_setting_code_or_key_that_is_not_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    assert set(_SETTING.findall(text)) <= set(_documented())
    assert set(re.findall(r"\bLMS-\d{3}\b", text)) <= CATALOGUE.keys()
    keys = _keys(Contract)
    first = "|".join(sorted(key for key, inner in keys.items() if inner))
    named = re.findall(rf"`((?:{first})(?:\.[a-z_]+)+)(?::[^`]*)?`", text)
    assert [each for each in named if not each.endswith(".sqlite") and not _is_key(each.split("."), keys)] == []


def test_every_code_in_the_package_is_in_the_catalogue() -> None:
    assert set(re.findall(r"\bLMS-\d{3}\b", _sources("lms_crm_assets"))) <= CATALOGUE.keys()


def _keys(model: type[BaseModel]) -> Mapping[str, list[type[BaseModel]]]:
    """Each key of a model, and the models that it may hold."""
    return {field.alias or name: list(_models(field.annotation)) for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _is_key(path: list[str], keys: Mapping[str, list[type[BaseModel]]]) -> bool:
    name, *rest = path
    return name in keys and (not rest or any(_is_key(rest, _keys(model)) for model in keys[name]))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_every_command_in_a_document_parses(document: Path) -> None:
    for words, is_whole in _commands(document.read_text(encoding="utf-8")):
        assert (wrong := _mistake(words, is_whole=is_whole)) is None, f"lms-crm {' '.join(words)}: {wrong}"


def test_the_readme_s_table_names_options_that_its_commands_have() -> None:
    rows = re.findall(
        r"^\| `lms-crm ([a-z -]+)` \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = [(name, option) for name, text in rows for option in re.findall(r"`(--[a-z-]+)", text)]

    assert len(named) > 50
    assert [each for each in named if (_mistake([*each[0].split(), each[1]], is_whole=False)) is not None] == []


def test_every_make_target_in_a_document_is_there() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert "demo" in targets
    for document in DOCUMENTS:
        named = re.findall(r"(?:`|^)make ([a-z0-9-]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, document.name


@pytest.mark.parametrize(
    ("words", "is_whole", "said"),
    [
        ("plan --tenant acme --json", True, None),
        ("plan", False, None),
        ("plan", True, "tenant"),
        ("plan --tenant acme --jsno", True, "--jsno"),
        ("tenants shwo", False, "shwo"),
        ("--show-completion", True, None),
        ("--shwo-completion", True, "--shwo-completion"),
        ("doctor acme", True, "acme"),
    ],
)
def test_a_command_that_is_off_is_found(words: str, is_whole: bool, said: str | None) -> None:  # noqa: FBT001 - a table's column
    found = _mistake(words.split(), is_whole=is_whole)

    assert (found is None) is (said is None)
    assert said is None or said in str(found)


def _commands(text: str) -> Iterator[tuple[list[str], bool]]:
    """The words after `lms-crm` of each command, and whether it stands there to be run as it is."""
    for token in (part for each in _PARSER.parse(text) for part in (each, *(each.children or ()))):
        if token.type == "fence" and token.info in {"sh", ""}:
            for line in token.content.replace("\\\n", " ").splitlines():
                yield from ((words, token.info == "sh") for words in _called(line))
        elif token.type == "code_inline":
            yield from ((words, False) for words in _called(token.content))


def _called(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        words = list(lexer)
    except ValueError:  # an apostrophe in plain words, no shell's line
        return
    for start in (n for n, word in enumerate(words) if word == "lms-crm" and words[n - 1 : n] != ["--namespace"]):
        rest = words[start + 1 :]
        end = next((n for n, word in enumerate(rest) if re.fullmatch(r"[();|&]+|\d?>+&?.*|<", word)), len(rest))
        if rest[:end] and re.fullmatch(r"[a-z-]+", rest[0]):
            yield rest[:end]


def _of_the_sandbox() -> set[str]:
    """The options of the simulated systems, which parse their own."""
    code = (ROOT / "lms_crm_assets" / "sandbox" / "__main__.py").read_text(encoding="utf-8")
    return set(re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", code))


def test_every_option_of_the_simulated_systems_is_documented() -> None:
    text = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")

    assert len(_of_the_sandbox()) >= 8
    assert [option for option in _of_the_sandbox() if f"`{option}" not in text] == []


def _mistake(words: list[str], *, is_whole: bool) -> str | None:
    """What is wrong with a command: that it isn't there, an option that isn't, or, of a whole one, what is missing."""
    command = get_command(app)
    taken = ["lms-crm"]
    rest = list(words)
    while (inner := getattr(command, "commands", None)) is not None:
        if not rest:
            return None if not is_whole else "which command?"
        name = rest.pop(0)
        if name in {option for parameter in command.params for option in parameter.opts}:
            return None  # the group's own, which ends the command: completion
        if name not in inner:
            return f"no command {name}"
        taken.append(name)
        command = inner[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    if is_passed_on := "ignore_unknown_options" in command.context_settings:
        known = _of_the_sandbox()
    options = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    if unknown := [option for option in options if option not in known | {"--help"}]:
        return f"no option {unknown[0]}"
    if not is_whole or is_passed_on:
        return None
    try:
        command.make_context(" ".join(taken), rest)
    except Exception as exc:  # noqa: BLE001 - of the parser that Typer brings
        # Whether a file is there is judged where the command is run.
        return None if "does not exist" in str(exc) else f"{type(exc).__name__}: {exc}"
    return None
