"""`python -m benchmarks.receiver`: the receiver under load, under kills and under garbage, as a process of its own.

--load [SECONDS]   1,000 signed requests a second from another process, whatever the answers take: p50, p99
--kills N          kill -9 under load, N times: acknowledged events that are not in the inbox afterwards
--fuzz N           N requests that nobody foresaw: answers of 5xx, and no answer at all
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from benchmarks.receiver_client import Sent, send_at
from benchmarks.receiver_fuzz import case
from benchmarks.results import Figure, show
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.inbox_schema import INBOX
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from tests.receiver_server import ENVIRON, WEBHOOKS, ReceiverProcess, signed, write_contract

_RATE = 1_000
_BODY_BYTES = 900


def prepared(folder: Path) -> ReceiverProcess:
    """A receiver with the tests' tenants, not yet started."""
    for tenant, webhooks in WEBHOOKS.items():
        write_contract(folder / "tenants", tenant, webhooks)
    return ReceiverProcess(folder)


def delivery(delivery_id: str) -> bytes:
    """A signed request of 900 bytes, as it goes over the wire."""
    body = json.dumps({"type": "course.completed", "id": delivery_id}).encode()
    body = body[:-1] + b', "x": "' + b"x" * (_BODY_BYTES - len(body) - 9) + b'"}'
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(body, delivery_id).items())
    head = f"POST /api/v1/hooks/standard HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def kept_ids(receiver: ReceiverProcess) -> Counter[str]:
    """How often each delivery id is in the inbox."""
    store = OperationalStore(receiver.settings.state_dir, schema=INBOX)
    inbox = Inbox(store, KeyRing.of(SecretStr(ENVIRON["LMS_CRM_KEY"])))
    found = Counter(event.delivery_id for event in inbox.find())
    store.close()
    return found


def host_and_port(receiver: ReceiverProcess) -> tuple[str, int]:
    """Where it listens now; a restarted one has another port."""
    address = urlsplit(receiver.address)
    return address.hostname or "", address.port or 0


def kills(rounds: int, seed: int, *, a_second: float = 300) -> dict[str, int]:
    """Kill and restart a receiver under load; what was acknowledged, and what of that is lost or doubled."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="lms-crm-receiver-") as folder:
        receiver = prepared(Path(folder))
        receiver.start()
        over = threading.Event()

        def ids() -> Iterator[bytes]:
            number = 0
            while True:
                yield delivery(f"kill-{number}")
                number += 1

        sent: list[Sent] = []

        def load() -> None:
            where = lambda: host_and_port(receiver)  # noqa: E731 - asked anew for each connection
            sent.append(asyncio.run(send_at(where, ids(), a_second=a_second, connections=40, is_over=over.is_set)))

        thread = threading.Thread(target=load)
        thread.start()
        for _ in range(rounds):
            time.sleep(chance.uniform(0.1, 0.8))
            receiver.kill()
            receiver.start()
        time.sleep(0.3)
        over.set()
        thread.join()
        exit_code = receiver.stop()
        kept = kept_ids(receiver)
    acknowledged = [f"kill-{place}" for place, status in sent[0].statuses.items() if status == 202]
    return {
        "kills": rounds,
        "acknowledged": len(acknowledged),
        "unanswered": sum(status == 0 for status in sent[0].statuses.values()),
        "lost": sum(each not in kept for each in acknowledged),
        "doubled": sum(count > 1 for count in kept.values()),
        "exit_code": exit_code,
    }


def fuzz(requests: int, seed: int) -> dict[str, int]:
    """Requests that nobody foresaw; how many of their answers are 5xx or missing, and whether it lives on."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="lms-crm-receiver-") as folder:
        receiver = prepared(Path(folder))
        receiver.start()
        sent = asyncio.run(
            send_at(
                lambda: host_and_port(receiver),
                (case(chance) for _ in range(requests)),
                a_second=1_500,
                connections=30,
            )
        )
        lives = httpx.get(f"{receiver.address}/readyz").status_code
        receiver.stop()
        log = receiver.log.read_text(encoding="utf-8", errors="replace")
    statuses = Counter(sent.statuses.values())
    print({status: statuses[status] for status in sorted(statuses)})
    return {
        "requests": requests,
        "server_errors": sum(count for status, count in statuses.items() if status >= 500),
        "unanswered": statuses[0],
        "tracebacks": log.count("Traceback") + log.count("unforeseen"),
        "ready": lives,
    }


def load(seconds: float) -> list[Figure]:
    """1,000 signed requests a second; this process is the sender."""
    with tempfile.TemporaryDirectory(prefix="lms-crm-receiver-") as folder:
        receiver = prepared(Path(folder))
        receiver.start()
        warm = [delivery(f"warm-{number}") for number in range(500)]
        asyncio.run(send_at(lambda: host_and_port(receiver), warm, a_second=500, connections=20))
        requests = [delivery(f"load-{number}") for number in range(int(seconds * _RATE))]
        sent = asyncio.run(send_at(lambda: host_and_port(receiver), requests, a_second=_RATE, connections=100))
        receiver.stop()
        kept = kept_ids(receiver)
    statuses = Counter(sent.statuses.values())
    taken = sorted(sent.seconds.values())
    missing = sum(f"load-{place}" not in kept for place, status in sent.statuses.items() if status == 202)
    print(f"answers {dict(statuses)}, p50 {taken[len(taken) // 2] * 1000:.1f} ms, most {taken[-1] * 1000:.1f} ms")
    return [
        Figure("receiver, p99 at 1,000 signed requests a second", taken[int(len(taken) * 0.99)] * 1000, 50, "ms"),
        Figure("receiver, requests not acknowledged at that rate", len(requests) - statuses[202], 0, "requests"),
        Figure("receiver, acknowledged and not kept", missing, 0, "events"),
    ]


def main() -> int:
    """Measure what is asked for; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__)
    parser.add_argument("--load", type=float, nargs="?", const=20.0, metavar="SECONDS")
    parser.add_argument("--kills", type=int, metavar="N")
    parser.add_argument("--fuzz", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    figures: list[Figure] = []
    if given.load:
        figures += load(given.load)
    if given.kills:
        result = kills(given.kills, given.seed)
        print(result)
        figures.append(Figure(f"receiver, acknowledged and lost in {given.kills} kills", result["lost"], 0, "events"))
    if given.fuzz:
        result = fuzz(given.fuzz, given.seed)
        print(result)
        figures.append(
            Figure(f"receiver, answers of 5xx to {given.fuzz:,} fuzzed requests", result["server_errors"], 0, "answers")
        )
    show(figures)
    return 0 if figures and all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
