"""The receipt of an erasure: what was done, when, by whom, and how much; no personal data but a keyed hash of the id."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson


@dataclass(frozen=True)
class Receipt:
    """One erasure, or what it would be. `learner`: the keyed hash by which the suppression list knows them, too.

    `rows` by table, `files` by folder of the state folder. `archived`: CRM records by object; what was not archived was left.
    """

    tenant: str
    learner: str
    at: str
    by: str
    crm: str
    archived: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    deliveries: int = 0
    answers: int = 0

    @property
    def found(self) -> int:
        """How many things there were in all."""
        counted = (*self.archived.values(), *self.rows.values(), *self.files.values())
        return sum(counted) + self.deliveries + self.answers

    def document(self) -> bytes:
        """The receipt as JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def keep(self, state_dir: Path) -> Path:
        """Write it into the state folder, for its owner alone; gives the file."""
        moment = self.at.replace(":", "").replace("-", "")[:15]
        file = state_dir / "receipts" / f"forget-{self.tenant}-{moment}-{self.learner[:12]}.json"
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            written.write(self.document())
        return file
