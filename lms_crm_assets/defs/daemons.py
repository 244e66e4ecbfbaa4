"""How Dagster's daemons do, without making a storage where there is none."""

import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import yaml


def daemon_health() -> Mapping[str, bool] | None:
    """Whether each daemon that is needed beat of late, by its name; None where Dagster never ran with this home."""
    home = Path(os.environ.get("DAGSTER_HOME", "."))
    try:
        config = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
        if not _has_storage(home, config):
            return None
        os.environ.setdefault("DAGSTER_HOME", str(home.absolute()))
        with dg.DagsterInstance.get() as instance:
            statuses = instance.get_daemon_statuses()
            return {name: bool(status.healthy) for name, status in statuses.items() if status.required}
    except (OSError, yaml.YAMLError, dg.DagsterError):
        return None


def _has_storage(home: Path, config: Mapping[str, object]) -> bool:
    """Whether the run storage's folder is there; a database is taken for there."""
    found = config.get("run_storage") or config.get("storage")
    if not isinstance(found, dict):
        return (home / "history").is_dir()
    inner = found.get("config") or found.get("sqlite")
    folder = inner.get("base_dir") if isinstance(inner, dict) else None
    return folder is None or Path(str(folder)).is_dir()
