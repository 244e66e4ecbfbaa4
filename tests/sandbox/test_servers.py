"""The sandbox as a process: all systems, their ports, and what a stop and a start leave of them."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lms_crm_assets.demo.sandbox_process import running_sandbox
from tests.sandbox_control import mutate, records

SMALL = ["--learners", "60", "--courses", "4", "--enrollments", "120"]
GENERATED = ("school", "canvas", "oneroster", "thinkific")


@pytest.mark.long
def test_all_generated_systems_serve_the_same_school() -> None:
    with running_sandbox(SMALL) as sandbox:
        held = {name: records(getattr(sandbox, name), "learners") for name in GENERATED}
        moodle = records(sandbox.moodle_school, "users")

        assert all(rows == held["school"] for rows in held.values())
        usernames = {row["username"] for row in held["school"]}
        assert len(usernames) == 59
        assert usernames <= {row["username"] for row in moodle}


@pytest.mark.long
def test_every_system_takes_up_what_it_held(tmp_path: Path) -> None:
    options = [*SMALL, "--state-dir", str(tmp_path)]
    with running_sandbox(options) as sandbox:
        for name in GENERATED:
            mutate(getattr(sandbox, name), object="courses", op="update", id="crs-0000001", fields={"title": name})
        mutate(sandbox.moodle_school, object="courses", op="update", id=2, fields={"fullname": "moodle_school"})

    # What was not asked for keeps the school that it was started with, too.
    with running_sandbox(["--state-dir", str(tmp_path)]) as sandbox:
        for name in GENERATED:
            assert records(getattr(sandbox, name), "courses")[0]["title"] == name
        assert records(sandbox.moodle_school, "courses")[1]["fullname"] == "moodle_school"
        assert len(records(sandbox.moodle_school, "users")) == 64


def test_a_system_has_the_port_that_was_asked_for(unused_port: int) -> None:
    with running_sandbox([*SMALL, "--port", f"canvas={unused_port}"]) as sandbox:
        assert sandbox.canvas == f"http://127.0.0.1:{unused_port}"
        assert sandbox.school != sandbox.canvas


def test_a_state_folder_keeps_the_addresses_that_are_free(tmp_path: Path) -> None:
    options = [*SMALL, "--state-dir", str(tmp_path)]
    with running_sandbox(options) as sandbox:
        before = vars(sandbox)
    port = int(before["canvas"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), running_sandbox(options) as sandbox:
        after = vars(sandbox)

    assert {name for name in before if before[name] != after[name]} == {"canvas"}


def test_a_port_of_a_system_that_there_is_not_is_refused() -> None:
    command = [sys.executable, "-m", "lms_crm_assets.sandbox", "--port", "blackboard=8000"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 2
    assert "there is no blackboard; there are moodle, moodle_school, school, canvas, " in answer.stderr


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "lms_crm_assets.sandbox", "--port", f"school={taken.getsockname()[1]}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode != 0
