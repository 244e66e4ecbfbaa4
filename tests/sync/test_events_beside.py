"""A run of events in the midst of a long delivery: whatever it sends, afterwards LMS and CRM agree."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import CrmObject, LmsEntity, SyncMode
from tests.sync.test_convergence import (
    CONTACT,
    ENROLLMENT,
    ENROLLMENTS,
    KEYS,
    Gone,
    Lms,
    Run,
    World,
    keyed,
    objects,
    populations,
    source_values,
)

pytestmark = pytest.mark.slow

Told = Lms | Gone


class Coming:
    """What happens in the LMS while a long run delivers, by the number of the batch after which it is told of."""

    def __init__(self, world: World, coming: Mapping[int, Sequence[Told]]) -> None:
        self._world, self._coming, self._batches = world, dict(coming), 0
        self._told: list[Told] = []
        self.runs = 0

    def wanted(self) -> bool:
        """Whether something was told of after this batch."""
        self._batches += 1
        self._told += self._coming.pop(self._batches, ())
        return bool(self._told)

    def give_way(self) -> bool:
        """Let a run of events take it."""
        told, self._told = self._told, []
        if not told:
            return False
        for event in told:
            event(self._world)
        self.runs += 1
        keys = {obj.entity: [event.key for event in told if event.obj is obj] for obj in (CONTACT, ENROLLMENT)}
        self._world.run_of_events(f"events {self.runs}", keys)
        return True


told: st.SearchStrategy[Told] = st.one_of(
    objects.flatmap(lambda o: st.builds(Lms, st.just(o), keyed(o), source_values(o, 1))),
    objects.flatmap(lambda o: st.builds(Gone, st.just(o), keyed(o))),
)


@given(
    mode=st.sampled_from([SyncMode.UPSERT, SyncMode.MIRROR]),
    by_upsert=st.booleans(),
    population=populations,
    runs_before=st.booleans(),
    before=st.lists(told, max_size=4),
    coming=st.dictionaries(st.integers(1, 9), st.lists(told, min_size=1, max_size=3), min_size=1, max_size=3),
)
def _give_way(
    mode: SyncMode,
    by_upsert: bool,  # noqa: FBT001 - hypothesis gives it
    population: dict[tuple[CrmObject | str, str], tuple[tuple[str, str | None], ...]],
    runs_before: bool,  # noqa: FBT001 - as above
    before: list[Told],
    coming: dict[int, list[Told]],
) -> None:
    with World(mode, by_upsert=by_upsert, tidy=False) as world:
        world.crm.batch_size = 1
        for obj, keys in KEYS.items():
            for key in keys:
                Lms(obj, key, population[obj, key])(world)
        for key in ENROLLMENTS:
            Lms(ENROLLMENT, key, (("learner_id", population["learner of", key]),))(world)  # type: ignore[arg-type]
        if runs_before:
            world.run(Run())
        for event in before:
            event(world)

        world.run_beside(Coming(world, coming))

        world.check_agreement()
        world.quiet_end()


@pytest.mark.parametrize("examples", [2, pytest.param(12, marks=pytest.mark.long)])
def test_a_long_run_that_gives_way_overwrites_nothing_and_leaves_nothing_out(examples: int) -> None:
    chosen = settings(max_examples=examples, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    chosen(_give_way)()


def test_what_a_long_run_has_yet_to_send_is_sent_as_the_events_found_it() -> None:
    with World(SyncMode.MIRROR, by_upsert=False, tidy=False) as world:
        world.crm.batch_size = 1
        for key in ("l1", "l2", "l3"):
            Lms(CONTACT, key, (("given_name", "before"),))(world)
        Lms(ENROLLMENT, "e1", (("role", "student"), ("learner_id", "l3")))(world)
        beside = Coming(world, {1: [Lms(CONTACT, "l3", (("given_name", "after"),)), Gone(CONTACT, "l2")]})

        world.run_beside(beside)

        assert beside.runs == 1
        first_names = [(write.key, write.values["First"]) for write in world.crm.log if "First" in write.values]
        assert first_names == [("l1", "before"), ("l3", "after")]
        world.check_agreement()


def test_the_scope_of_a_run_of_events_leaves_the_rest_to_the_long_run() -> None:
    with World(SyncMode.UPSERT, by_upsert=False, tidy=False) as world:
        for key in ("l1", "l2"):
            Lms(CONTACT, key, (("given_name", "a"),))(world)
        Lms(ENROLLMENT, "e1", (("role", "student"), ("learner_id", "l2")))(world)

        world.run_of_events("events", {LmsEntity.ENROLLMENTS: ["e1"]})

        # With the learner that the enrollment needs.
        assert {(held.obj, held.key) for held in world.crm.records.values()} == {(CONTACT, "l2"), (ENROLLMENT, "e1")}
