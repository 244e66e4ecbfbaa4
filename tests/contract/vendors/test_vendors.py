"""The vendors' recorded and documented answers: the sandbox gives them too, and so does a live account (`--live`)."""

import os

import pytest

from tests.contract.vendors.case_files import Case, Vendor, load
from tests.contract.vendors.endpoints import Endpoint, missing_credentials
from tests.contract.vendors.playing import play

VENDORS: tuple[Vendor, ...] = ("salesforce", "hubspot")
CASES = [case for vendor in VENDORS for case in load(vendor)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        marks = _marks_live if metafunc.config.getoption("--live", default=False) else _marks_sandbox
        params = [pytest.param(each, marks=marks(each), id=f"{each.vendor}-{each.name}") for each in CASES]
        metafunc.parametrize("case", params)


def test_the_answer_is_the_vendors(case: Case, endpoint: Endpoint) -> None:
    found = play(case, endpoint)

    if found:
        lines = "\n".join(f"  {each}" for each in found)
        pytest.fail(f"{case.vendor}/{case.topic}.yaml: {case.name}\n{lines}\n  source: {case.source}", pytrace=False)


def test_every_case_has_a_name_of_its_own() -> None:
    names = [(case.vendor, case.name) for case in CASES]

    assert len(names) == len(set(names))


def _marks_sandbox(case: Case) -> list[pytest.MarkDecorator]:
    if not case.known_difference:
        return []
    return [pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=case.known_difference)]


def _marks_live(case: Case) -> list[pytest.MarkDecorator]:
    reason = missing_credentials(case.vendor, os.environ)
    if not reason and case.sandbox_only:
        reason = f"only in the sandbox: {case.sandbox_only}"
    return [pytest.mark.skip(reason=reason)] if reason else []
