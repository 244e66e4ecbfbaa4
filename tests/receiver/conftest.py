"""One receiver for the tests of a module, and its inbox."""

import os
from collections.abc import Iterator

import httpx
import pytest

from lms_crm_assets.settings import Settings
from tests.receiver_server import ENVIRON, WEBHOOKS, Running, serving, write_contract


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("receiver")
    for tenant, webhooks in WEBHOOKS.items():
        write_contract(folder / "tenants", tenant, webhooks)
    settings = Settings(folder / "tenants", folder / "state")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRON.items():
            patch.setenv(name, value)
        patch.delenv("LMS_CRM_KEY_FILE", raising=False)
        assert os.environ["LMS_CRM_KEY"] == ENVIRON["LMS_CRM_KEY"]
        with serving(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
            yield Running(address, settings, client)
