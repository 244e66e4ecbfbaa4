"""The figures that documents, dashboard and alert rules name are those that are shown."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr

from lms_crm_assets.ops.exposition import RunFigures
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.inbox_schema import INBOX
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.metrics import CATALOGUE
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.receiver.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "lms-crm-alerts.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lms-crm.json").read_text(encoding="utf-8"))

_FUNCTIONS = {"max", "sum", "count", "by", "on", "unless", "increase", "rate", "histogram_quantile", "offset"}
# Prometheus's own.
_OTHERS = {"up"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The kind of each figure of a receiver's `/metrics`, by name."""
    folder = tmp_path_factory.mktemp("state")
    metrics = Metrics()
    ring = KeyRing.of(SecretStr("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="))
    metrics.watch(Inbox(OperationalStore(folder, schema=INBOX), ring), OperationalStore(folder))
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(metrics.registry).decode(), re.MULTILINE))


def expressions() -> list[str]:
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_every_figure_is_shown_and_documented_and_no_other(shown: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.+?) \| (.+) \|$", DOCUMENT, re.MULTILINE)

    assert shown == {metric.shown_as: metric.kind for metric in CATALOGUE.values()}
    assert rows == [(m.shown_as, m.kind, ", ".join(m.all_labels), m.meaning) for m in CATALOGUE.values()]


def test_what_the_command_prints_is_a_part_of_what_the_receiver_shows(shown: dict[str, str], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(RunFigures(OperationalStore(tmp_path)))

    alone = dict(re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry).decode(), re.MULTILINE))
    assert alone.items() <= shown.items()
    assert shown.keys() - alone.keys() == {
        *("deliveries_total", "inbox_depth", "inbox_oldest_age_seconds", "inbox_conflicts_total")
    }


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_figures_and_labels_that_exist(shown: dict[str, str], expression: str) -> None:
    kept = [metric for metric in CATALOGUE.values() if metric.shown_as in shown]
    known = {name: {*metric.all_labels, "route", "le"} for metric in kept for name in _names(metric)}
    words = re.sub(r'"[^"]*"|\[\w+\]|\b\d\w*', "", expression)
    selectors = re.findall(r"([a-zA-Z_]\w*)\s*(?:\{([^}]*)\})?", re.sub(r"\b(?:by|on)\s*\([^)]*\)", "", words))
    named = [(name, labels) for name, labels in selectors if name not in _FUNCTIONS | _OTHERS]

    assert named or "up{" in expression
    for name, labels in named:
        assert name in known, expression
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels)) <= known[name], expression
    grouped = {label.strip() for found in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", words) for label in found.split(",")}
    assert grouped <= set().union(*known.values()), expression
    assert expression.count("(") == expression.count(")")


def test_every_rule_says_what_happened_and_what_to_do() -> None:
    rules: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "action"}
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert scrape["rule_files"] == ["lms-crm-alerts.yml"]
    assert scrape["scrape_configs"][0]["job_name"] == "lms-crm"
    assert all(panel["description"] for panel in DASHBOARD["panels"] if panel["type"] != "row")


def _names(metric: Any) -> list[str]:
    parts = [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")] if metric.kind == "histogram" else []
    return [metric.shown_as, *parts]
