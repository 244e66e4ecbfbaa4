"""What a run tells, put together as the facts of its report; and the page, where the contract wants one after the run."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import structlog
from dagster._core.events import EngineEventData

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.standing import crm_standing
from lms_crm_assets.defs.agreement import was_all_taken
from lms_crm_assets.defs.edge import key
from lms_crm_assets.domain import CrmObject, LmsEntity, RuleSeverity
from lms_crm_assets.ops.metrics import last_success
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.report.facts import (
    CHECKS,
    CRM,
    SCHEMA,
    Limits,
    ObjectFacts,
    PlanFacts,
    RefusedFacts,
    RunFacts,
)
from lms_crm_assets.report.history import keep
from lms_crm_assets.report.making import make_page, report_file, write_page
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from lms_crm_assets.withholding import discreet

_log = structlog.get_logger(__name__)

_TELLING = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.STEP_FAILURE,
}
_DAY_SECONDS = 86_400.0
# As `sync.outcomes` words it: our code, its rule, and the CRM's own word.
_REASON = re.compile(r"(LMS-\d+) (\w+)(?: \((.*)\))?")


@dataclass
class Told:
    """A run's events as plain values: each asset's metadata, each check, and a line for each failed step."""

    metadata: dict[dg.AssetKey, dict[str, Any]] = field(default_factory=dict)
    checks: dict[tuple[dg.AssetKey, str], dg.AssetCheckEvaluation] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def figures(self, layer: str, name: str) -> Mapping[str, Any]:
        """The metadata of an asset; empty where the run did not come to it."""
        return self.metadata.get(key(layer, name), {})

    def check(self, layer: str, name: str, check: str) -> Mapping[str, Any]:
        """The metadata of a check; empty as above."""
        found = self.checks.get((key(layer, name), check))
        return {} if found is None else {name: entry.value for name, entry in found.metadata.items()}


def told_by(instance: dg.DagsterInstance, run_id: str) -> Told:
    """What the run has told up to now."""
    told = Told()
    blocking: dict[str, list[str]] = {}
    for record in instance.get_records_for_run(run_id, of_type=_TELLING).records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            told.metadata[made.asset_key] = {name: entry.value for name, entry in made.metadata.items()}
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            told.checks[check.asset_key, check.check_name] = check
            if check.blocking and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
                blocking.setdefault(str(event.step_key), []).append(str(check.description))
        else:
            told.problems += _problem(event, blocking)
    return told


def _problem(event: dg.DagsterEvent, blocking: Mapping[str, Sequence[str]]) -> list[str]:
    """What a step says itself, or the checks that stopped it; an error that nobody foresaw is not quoted."""
    said = event.step_failure_data.user_failure_data
    if said is not None and said.description:
        return [str(said.description)]
    step = str(event.step_key)
    return list(blocking.get(step, [f"{step.replace('__', '/')} ended with an error; the run in Dagster has it"]))


def tell_of_page(instance: dg.DagsterInstance, run: dg.DagsterRun, file: Path) -> None:
    """Say in a run's log where its page is, where the run did not come to the asset that says it."""
    metadata = {"report": dg.MetadataValue.path(str(file.absolute()))}
    instance.report_engine_event("The run's report", run, EngineEventData(metadata=metadata))


class RunReport:
    """The report of one run, made once."""

    def __init__(self, run: dg.DagsterRun, tenant: str, started_by: str) -> None:
        self._run = run
        self._tenant = tenant
        self._started_by = started_by
        self._began_at = datetime.now(UTC)
        self._is_made = False

    def make(
        self, instance: dg.DagsterInstance, settings: Settings, open_store: Callable[[], OperationalStore]
    ) -> Path | None:
        """Keep the run's facts, and make its page where the contract says so; gives the page's file.

        A run that neither compared the two sides nor failed has none, and a second call does nothing. What goes wrong here
        is logged and no more: the run has done its work.
        """
        if self._is_made:
            return None
        try:
            told = told_by(instance, self._run.run_id)
            if not told.problems and "plan_id" not in told.figures("delta", "plan"):
                return None
            self._is_made = True
            return self._page(told, settings, open_store())
        except Exception as exc:  # noqa: BLE001 - as above
            _log.warning("report_lost", error=type(exc).__name__, exc_info=discreet(exc))
            return None

    def _page(self, told: Told, settings: Settings, store: OperationalStore) -> Path | None:
        contract = load_contract(settings.tenants_dir, self._tenant)
        facts = self._facts(told, contract, store)
        is_telling = keep(store, facts)
        attach = contract.report.attach
        if not is_telling or attach == "never" or (attach == "full" and facts.is_pull):
            return None
        file = report_file(settings.state_dir, self._tenant, facts.run_id)
        warehouse = locate(settings, self._tenant)
        write_page(file, make_page(facts, contract, store, lambda: connect(warehouse)))
        return file

    def _facts(self, told: Told, contract: Contract, store: OperationalStore) -> RunFacts:
        rails, checks = contract.guardrails, list(told.checks.values())
        return RunFacts(
            tenant=self._tenant,
            run_id=self._run.run_id,
            job=self._run.job_name,
            started_by=self._started_by,
            began_at=self._began_at,
            ended_at=datetime.now(UTC),
            lms=contract.source.adapter,
            crm=contract.destination.adapter,
            objects=tuple(found for obj in contract.in_order() if (found := _object(told, obj)) is not None),
            refused=tuple(_refused(told, contract)),
            limits=Limits(
                rails.max_update_share,
                rails.max_updates,
                rails.max_archive_share,
                rails.max_archives,
                rails.floor,
                rails.quota_share,
            ),
            promised_minutes=contract.sla.freshness_minutes,
            problems=tuple(told.problems),
            plan=_plan(told),
            agrees=not told.problems and was_all_taken(checks),
            agreed_before=last_success(store, self._tenant),
            quota=crm_standing(contract, store, _DAY_SECONDS).quota,
            differing=_differing(told),
            loose_invalid=int(told.figures("staging", LmsEntity.SCORES.staging_table).get("invalid", 0)),
        )


def _object(told: Told, obj: CrmObject) -> ObjectFacts | None:
    """One object's figures; nothing where the run did not compare it."""
    delta, sync = told.figures("delta", obj), told.figures("sync", obj)
    if "create" not in delta:
        return None
    return ObjectFacts(
        name=obj.value,
        invalid=int(told.figures("staging", obj.entity.staging_table).get("invalid", 0)),
        agreed=delta["unchanged"],
        create=delta["create"],
        update=delta["update"],
        archive=delta["archive"],
        created=sync.get("records_created", 0),
        updated=sync.get("records_updated", 0),
        archived=sync.get("records_archived", 0),
        overwritten=delta["drift"] + delta["conflict"],
        kept=delta["observed"],
        withheld=delta["refused"],
        rejected=sync.get("records_rejected", 0),
        failed=sync.get("records_failed", 0),
        dead=sync.get("records_skipped", 0),
        by_mode=delta["skipped"],
        replaced=delta["overwrite"],
        live=delta["live"],
        unsent=str(sync.get("skipped", "")) if delta["create"] + delta["update"] + delta["archive"] else "",
    )


def _refused(told: Told, contract: Contract) -> Iterator[RefusedFacts]:
    entities = {obj.entity for obj in contract.objects} | {LmsEntity.SCORES}
    for entity in (entity for entity in LmsEntity if entity in entities):
        for layer in ("schema_rules", "business_rules"):
            rules = told.check("staging", entity.staging_table, layer).get("rules")
            for record in rules.records if rules is not None else ():
                rule = record.data
                if rule["rows"] and rule["severity"] == RuleSeverity.ERROR:
                    yield RefusedFacts(
                        str(rule["code"]), str(rule["rule"]), CHECKS, entity.value, int(str(rule["rows"]))
                    )
    for obj in contract.in_order():
        for code, number in told.check("delta", obj, "destination_rules").get("refused_by_code", {}).items():
            yield RefusedFacts(code, CATALOGUE[code].rule, SCHEMA, obj.value, number)
        for reason, number in told.check("sync", obj, "delivered").get("by_code", {}).items():
            if (found := _REASON.fullmatch(reason)) is not None:
                yield RefusedFacts(found[1], found[2], CRM, obj.value, number, found[3] or "")


def _plan(told: Told) -> PlanFacts | None:
    plan = told.figures("delta", "plan")
    if "plan_id" not in plan:
        return None
    guardrails = told.checks.get((key("delta", "plan"), "guardrails"))
    stopped = guardrails is not None and not guardrails.passed
    return PlanFacts(
        plan["plan_id"],
        plan["status"],
        plan["calls"],
        plan["minutes"],
        breach=str(guardrails.description) if guardrails is not None and stopped else "",
        withheld=str(plan.get("withheld", "")),
    )


def _differing(told: Told) -> str:
    failed = [each for (_, name), each in told.checks.items() if name == "converged" and not each.passed]
    return " ".join(f"{each.asset_key.path[-1]}: {each.description}" for each in failed)
