"""The lint of the lock and of secrets finds what it is for."""

from pathlib import Path

import pytest

from lint.lock import bound, mistakes
from lint.secrets import found_in, unknown

ROOT = Path(__file__).parent.parent
HASH = "    --hash=sha256:" + "0" * 64 + "\n"

# Put together here, so that this file holds none of them.
PLANTED = {
    "HubSpot token": "pat-" + "na1-0a1b2c3d-0000-1111-2222-0123456789ab",
    "Salesforce session": "00D" + "5g0000012345!" + "AQcAQH0dMHZfz972Szmpkb58urFRkgeBGsxL" * 2,
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "AWS Access Key": "AKIA" + "QYLPMN5HHHFPZAM2",
    "Slack Token": "xox" + "b-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("place", ["docs/setup.md", "tests/crm/test_it.py"])
def test_a_planted_secret_is_found_and_the_known_one_is_not(kind: str, place: str) -> None:
    (found,) = {(each.kind, each.line): each for each in found_in(place, f"one\nit is {PLANTED[kind]}\n")}.values()

    assert (found.kind, found.line) == (kind, 2)
    assert unknown([found], {}) == [found]
    assert unknown([found], {place: [found.digest]}) == []
    assert unknown([found], {"another.md": [found.digest]}) == [found]


def test_a_password_in_the_product_is_found_and_one_of_a_test_is_its_own_matter() -> None:
    line = "password" + ' = "k9Fq-2vLw-77"\n'

    assert [each.kind for each in found_in("lms_crm_assets/settings.py", line)] == ["Secret Keyword"]
    assert list(found_in("tests/test_it.py", line)) == []


@pytest.mark.parametrize(
    ("lock", "mistake"),
    [
        (f"a==1 \\\n{HASH}", None),
        (f'a==1 ; python_version < "4" \\\n{HASH}', None),
        ("a==1\n", "a (line 1) has no sha256"),
        (f"a>=1 \\\n{HASH}", "line 1: a is not pinned to one version"),
        (f"a @ https://example.org/a.whl \\\n{HASH}", "line 1: a is not pinned to one version of the index"),
        (f"-i https://example.org\na==1 \\\n{HASH}", "line 1: an option or address of its own"),
        (f"a==1 \\\n{HASH}    --hash=md5:00\n", "line 3: is neither a package nor its sha256"),
        (f"a==3 \\\n{HASH}", "a<2 of pyproject.toml is not in it (it has 3)"),
    ],
)
def test_what_is_wrong_with_a_lock(lock: str, mistake: str | None) -> None:
    found = list(mistakes(lock, ["a<2"]))

    assert (found == []) if mistake is None else any(each.startswith(mistake) for each in found), found


def test_licences_that_do_not_go_with_ours() -> None:
    told = {"a": "MIT", "b": "GPL-3.0-only", "c": "LGPL-3.0-only", "d": "MIT OR GPL-2.0-only", "e": "AGPL-3.0"}
    told["docutils"] = "License :: Public Domain; License :: OSI Approved :: GNU General Public License (GPL)"

    assert [each.split()[0] for each in bound(told)] == ["b", "e"]
