"""`python -m lms_crm_assets.sandbox`: the simulators in a process of their own."""

import argparse
from pathlib import Path

from lms_crm_assets.sandbox.errors import SandboxRequestError
from lms_crm_assets.sandbox.school.layout import Size
from lms_crm_assets.sandbox.servers import SandboxOptions, serve


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m lms_crm_assets.sandbox", description=__doc__)
    parser.add_argument("--learners", type=int, default=Size.learners, help="learners of the generated LMSs")
    parser.add_argument("--courses", type=int, default=Size.courses)
    parser.add_argument("--enrollments", type=int, default=Size.enrollments)
    parser.add_argument("--seed", type=int, default=Size.seed)
    parser.add_argument("--no-rate-limit", action="store_true", help="HubSpot without its limit of 190 calls in 10 s")
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--state-dir", type=Path, help="keep the state here between starts")
    parser.add_argument("--ready-file", type=Path, help="write the addresses here as JSON once all servers answer")
    parser.add_argument(
        "--port",
        type=_port,
        action="append",
        default=[],
        metavar="SYSTEM=NUMBER",
        dest="ports",
        help="the port of a system, as --port canvas=8001; may be given several times; the others take free ones",
    )
    given = parser.parse_args()
    options = SandboxOptions(
        school=Size(given.learners, given.courses, given.enrollments, given.seed),
        hubspot_calls_per_10_seconds=None if given.no_rate_limit else SandboxOptions.hubspot_calls_per_10_seconds,
        latency_seconds=given.latency_seconds,
        state_dir=given.state_dir,
        ports=dict(given.ports),
    )
    try:
        serve(options, given.ready_file)
    except SandboxRequestError as refusal:
        parser.error(str(refusal))


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}': write it like canvas=8001")
    return name, int(number)


if __name__ == "__main__":
    main()
