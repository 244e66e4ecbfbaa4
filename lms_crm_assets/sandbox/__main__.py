"""`python -m lms_crm_assets.sandbox`: the simulators in a process of their own."""

import argparse
from pathlib import Path

from lms_crm_assets.sandbox.servers import SandboxOptions, serve


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m lms_crm_assets.sandbox", description=__doc__)
    parser.add_argument("--learners", type=int, default=SandboxOptions.learners, help="learners of the generated LMS")
    parser.add_argument("--courses", type=int, default=SandboxOptions.courses)
    parser.add_argument("--enrollments", type=int, default=SandboxOptions.enrollments)
    parser.add_argument("--seed", type=int, default=SandboxOptions.seed)
    parser.add_argument("--no-rate-limit", action="store_true", help="HubSpot without its limit of 190 calls in 10 s")
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--state-dir", type=Path, help="keep the state here between starts")
    parser.add_argument("--ready-file", type=Path, help="write the addresses here as JSON once all servers answer")
    parser.add_argument("--ports", type=int, nargs=4, default=[0, 0, 0, 0], metavar="PORT", help="free ports if 0")
    given = parser.parse_args()
    options = SandboxOptions(
        learners=given.learners,
        courses=given.courses,
        enrollments=given.enrollments,
        seed=given.seed,
        hubspot_calls_per_10_seconds=None if given.no_rate_limit else SandboxOptions.hubspot_calls_per_10_seconds,
        latency_seconds=given.latency_seconds,
        state_dir=given.state_dir,
        ports=tuple(given.ports),
    )
    serve(options, given.ready_file)


if __name__ == "__main__":
    main()
