"""The option `--live`, and the accounts that the cases run against."""

import os
from collections.abc import Iterator

import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.contract.vendors.case_files import Case, Vendor
from tests.contract.vendors.endpoints import Endpoint, live_endpoint, sandbox_endpoint


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--live", action="store_true", help="run the vendors' cases against a live org and portal, not the sandbox"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--live", default=False):
        # A long traceback shows the arguments of functions, the environment with its secrets among them.
        config.option.tbstyle = "short"
        config.option.showlocals = False


@pytest.fixture(scope="session")
def live_accounts() -> Iterator[dict[Vendor, Endpoint]]:
    """The live accounts used so far; cleaned up at the end, whatever happened."""
    used: dict[Vendor, Endpoint] = {}
    yield used
    for endpoint in used.values():
        try:
            endpoint.clean_up()
        finally:
            endpoint.client.close()


@pytest.fixture
def endpoint(case: Case, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """Where the case runs."""
    if request.config.getoption("--live", default=False):
        accounts: dict[Vendor, Endpoint] = request.getfixturevalue("live_accounts")
        if case.vendor not in accounts:
            accounts[case.vendor] = live_endpoint(case.vendor, os.environ)
        yield accounts[case.vendor]
        return
    sandbox: Sandbox = request.getfixturevalue("sandbox")
    address = sandbox.salesforce if case.vendor == "salesforce" else sandbox.hubspot
    found = sandbox_endpoint(case.vendor, address, case.options)
    yield found
    found.client.close()
