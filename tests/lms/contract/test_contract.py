"""What every adapter has to do, whatever it speaks."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import (
    CredentialError,
    FatalError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.warehouse.connection import connect
from tests.lms.contract.conftest import SIZE, Lms
from tests.lms.contract.interleavings import short_pages
from tests.lms.contract.protocols import CHANGES, SECRETS
from tests.lms.contract.stuck import Stuck
from tests.lms.pulls import by_key
from tests.sandbox_control import fault, requests
from tests.simulator_server import serving

LEARNERS, COURSES, ENROLLMENTS, *_ = LmsEntity
EVERYWHERE = "^(GET|POST) /(?!_sandbox)"

_NOW_AND_THEN = {"share": 0.06, "times": 4}
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 503, **_NOW_AND_THEN},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}, **_NOW_AND_THEN},
    {"kind": "cut_before", **_NOW_AND_THEN},
    {"kind": "cut_after", **_NOW_AND_THEN},
    {"kind": "replace", "status": 200, "body": "<html>gateway</html>", **_NOW_AND_THEN},
    {"kind": "replace", "status": 200, "body": '{"items": [{"id', **_NOW_AND_THEN},
]


def is_right(lms: Lms) -> None:
    """The warehouse holds what the school says, once."""
    living = lms.warehouse.living()
    for entity, facts in lms.protocol.facts(lms.simulator.records).items():
        assert {key: lms.protocol.told[entity](payload) for key, payload in living[entity].items()} == facts
    with connect(lms.warehouse.file) as con:
        assert lms.warehouse.twice(con) == set()


def refused(call: Callable[[], object]) -> FatalError:
    """The error by which it is refused; no secret is in it, and it is a line."""
    with pytest.raises(FatalError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    assert not any(secret in said for name, secret in SECRETS.items() if name != "poor")
    return caught.value


def test_a_good_credential_is_told_only_what_the_lms_cannot_tell(lms: Lms) -> None:
    said = lms.adapter().probe()

    # The simulated site's service has no reports of single people's competencies.
    unrated = "the web service of source.token lacks report_competency_data_for_report: competencies stay empty"
    assert all(line.startswith("without source.reports Moodle tells no ") for line in said if line != unrated)
    assert bool(said) is (lms.protocol.name == "moodle by course")


def test_nothing_at_the_address_is_named_as_such(lms: Lms, unused_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_port}"

    found = refused(lms.adapter(url=nowhere).probe)

    # OneRoster's first call is for a token.
    assert isinstance(found, WrongAddressError)
    assert nowhere in str(found)
    assert "check source.url" in str(found)


def test_another_system_at_the_address_is_noticed(lms: Lms) -> None:
    with serving(HubSpotSimulator()) as other:
        found = refused(lms.adapter(url=other).probe)

    # OneRoster's first call is for a token.
    assert ("check source.token_url" if lms.protocol.login else "source.url") in str(found)


def test_a_wrong_credential_is_named_without_its_secret(lms: Lms) -> None:
    changes = lms.protocol.wrong
    for call in (lms.adapter(**changes).probe, lambda: lms.pull(**changes)):
        found = refused(call)
        assert isinstance(found, CredentialError)
        assert re.search(r"check .*source\.(token|api_key|client_secret)", str(found)), found


@pytest.mark.parametrize("status", [302, 308])
def test_a_redirect_takes_no_credential_to_another_host(lms: Lms, status: int) -> None:
    with serving(lms.protocol.simulator(SIZE)) as other:
        elsewhere = {"Location": f"{other}/stolen"}
        # Behind a login of its own, the calls after it as well.
        for route in {EVERYWHERE, f"^(GET|POST) (?!{lms.protocol.login})"}:
            fault(lms.address, {"route": route, "kind": "status", "status": status, "headers": elsewhere})
            refused(lms.adapter().probe)
            refused(lms.pull)
        assert requests(other) == {}


def test_a_next_page_elsewhere_is_not_asked_for(lms: Lms) -> None:
    with serving(lms.protocol.simulator(SIZE)) as other:
        link = {"Link": f'<{other}/stolen>; rel="next"'}
        fault(
            lms.address,
            {
                "route": f"^(GET|POST) (?!{lms.protocol.login})",
                "kind": "status",
                "status": 200,
                "body": "[]",
                "headers": link,
            },
        )
        refused(lms.adapter().probe)
        assert requests(other) == {}


def test_a_pull_gives_what_the_capabilities_say(lms: Lms) -> None:
    adapter = lms.adapter()
    able = adapter.capabilities

    given = {page.entity for page in adapter.pull(lms.protocol.entities, None)}

    assert given <= able.entities
    assert given == able.entities & set(lms.protocol.entities)
    assert able.supports_since <= able.entities
    assert able.has_tombstones <= able.entities
    assert able.needs_full_sweep <= able.entities


def test_a_pull_brings_the_school_into_staging(lms: Lms) -> None:
    lms.pull()

    is_right(lms)
    staged, valid = lms.warehouse.staged(lms.protocol.staged_by), lms.protocol.valid(lms.simulator.records)
    assert staged["learner"] >= valid["learner"]
    assert staged["course"] == valid["course"]
    assert staged["enrollment"] == valid["enrollment"]


def test_a_second_pull_changes_nothing_but_the_time(lms: Lms) -> None:
    lms.pull()
    first = lms.warehouse.living(), lms.warehouse.tombstones()
    again = lms.pull()

    assert (lms.warehouse.living(), lms.warehouse.tombstones()) == first
    assert not any(again.absent.values())


def test_a_fetch_gives_what_the_pull_gave_and_says_what_is_gone(lms: Lms) -> None:
    adapter = lms.adapter()
    pulled = by_key(adapter.pull(lms.protocol.entities, None))

    for entity, rows in pulled.items():
        living = {key: record for key, record in rows.items() if not record.is_deleted}
        # Moodle's front page has no ID number, by which reports name courses: a fetch leaves it as it is.
        some = sorted(key for key, record in living.items() if record.payload.get("format") != "site")[:8]
        fetched = by_key(adapter.fetch(entity, [*some, "999999999"])).get(entity, {})
        assert {key: fetched[key] for key in some} == {key: living[key] for key in some}
        assert fetched["999999999"].is_deleted


def test_an_incremental_pull_sees_an_edit_and_takes_nothing_for_gone(lms: Lms) -> None:
    lms.pull()
    before = lms.warehouse.living()
    able = lms.adapter().capabilities
    editor = lms.edit()
    made = {editor.edit() for _ in range(40)}
    # Of what is given whole the rows that are there no more are missing, and of what was deleted only a feed tells.
    facts = lms.protocol.facts(lms.simulator.records)

    done = lms.pull(full=False)

    assert any("delete" in each for each in made)
    assert (done.since is not None) is bool(able.supports_since)
    living = lms.warehouse.living()
    for entity in lms.protocol.entities:
        gone = before[entity].keys() - living[entity].keys()
        if entity not in able.has_tombstones:
            assert not gone, entity
    for entity in facts.keys() & (able.has_tombstones | (set(LmsEntity) - able.supports_since)):
        told = {key: lms.protocol.told[entity](payload) for key, payload in living[entity].items()}
        assert facts[entity].items() <= told.items()


def test_what_is_gone_becomes_a_tombstone_with_a_full_pull(lms: Lms) -> None:
    lms.pull()
    before = lms.warehouse.living()
    editor = lms.edit(1)
    for _ in range(40):
        editor.edit()

    lms.pull()

    is_right(lms)
    tombstones, facts = lms.warehouse.tombstones(), lms.protocol.facts(lms.simulator.records)
    for entity, rows in facts.items():
        assert before[entity].keys() - rows.keys() <= tombstones[entity].keys()
    assert any(before[entity].keys() - rows.keys() for entity, rows in facts.items())


def test_passing_trouble_of_all_kinds_ends_in_the_right_state_now_or_with_the_next_pull(lms: Lms) -> None:
    lms.pull()
    editor = lms.edit(2)
    for _ in range(20):
        editor.edit()
    held = lms.warehouse.held()
    fault(lms.address, *({"route": EVERYWHERE, **each} for each in FAULTS), seed=5)
    try:
        lms.pull()
    except RetryableError:
        assert lms.warehouse.held() == held
        fault(lms.address)
        lms.pull()

    is_right(lms)


def test_trouble_that_stays_changes_nothing(lms: Lms) -> None:
    lms.pull()
    held = lms.warehouse.held()
    fault(lms.address, {"route": f"^(GET|POST) (?!{lms.protocol.login})", "kind": "status", "skip": 3})

    with pytest.raises(RetryableError):
        lms.pull()

    assert lms.warehouse.held() == held


def test_a_token_that_ends_midway_is_fetched_anew_or_named(lms: Lms) -> None:
    lms.pull()
    held = lms.warehouse.held()
    if lms.protocol.expiring is not None:
        httpx.post(f"{lms.address}/_sandbox/options", json={"token_calls": 5}).raise_for_status()
        lms.pull(**lms.protocol.expiring)
        is_right(lms)
        return
    fault(lms.address, {"route": EVERYWHERE, "skip": 3, **lms.protocol.ended})

    with pytest.raises((CredentialError, PermissionMissingError), match=r"check source\."):
        lms.pull()

    assert lms.warehouse.held() == held


def test_a_listing_that_gives_one_page_for_ever_ends_with_an_error(lms: Lms) -> None:
    lms.pull()
    held = lms.warehouse.held()
    stuck: list[Stuck] = []

    def around(app: ASGIApp) -> ASGIApp:
        stuck.append(Stuck(app, lms.protocol.place))
        return stuck[0]

    with (
        short_pages(),
        serving(lms.protocol.simulator(SIZE), around) as address,
        pytest.raises((ProtocolError, RetryableError)),
    ):
        lms.pull(url=address)

    assert stuck[0].calls < 300
    assert lms.warehouse.held() == held


def test_a_token_that_is_withdrawn_changes_nothing(lms: Lms) -> None:
    lms.pull()
    held = lms.warehouse.held()

    # Not the same error everywhere: a Canvas without a permission answers as one with a bad token.
    with pytest.raises((CredentialError, PermissionMissingError)):
        lms.pull(**lms.protocol.wrong)

    assert lms.warehouse.held() == held


def test_a_token_that_sees_only_itself_archives_nobody(lms: Lms) -> None:
    lms.pull()
    held = lms.warehouse.living()

    for full in (True, False):
        try:
            done = lms.warehouse.pull(lms.adapter(**lms.protocol.poor), full=full)
        except PermissionMissingError:
            continue
        # The changes contract has no word for it: the pull is not believed, or holds no change.
        assert lms.protocol is CHANGES
        assert bool(done.doubted) is full
    assert lms.warehouse.living() == held
    assert not any(lms.warehouse.tombstones()[entity].keys() & rows.keys() for entity, rows in held.items())
