"""What the assets are given: the tenants' contracts and warehouses."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr, SecretStr

from lms_crm_assets.contract.loading import load_contract, tenant_names
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.defs.edge import translated
from lms_crm_assets.defs.launch import PlanConfig, launched_with
from lms_crm_assets.defs.orphans import end_orphans, lane_of
from lms_crm_assets.defs.reporting import RunReport, tell_of_page
from lms_crm_assets.defs.started import started_by
from lms_crm_assets.defs.telling import RunTelling, layer
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.events.share import Share, give_back
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.lanes import Alone, Lane, Place, RightOfWay
from lms_crm_assets.ops.metrics import Tally
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.suppression import Marks, Suppression
from lms_crm_assets.ops.switches import SwitchBoard, Switches
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import location_of
from lms_crm_assets.warehouse.publishing import publish


class TenantsResource(dg.ConfigurableResource[None]):
    """The folder of contracts, and the folder where the tenants' state lies."""

    tenants_dir: str = Field(description="Where the contracts are, one YAML file a tenant.")
    state_dir: str = Field(description="Where landing files, spools and journals are kept.")
    _place: Place | None = PrivateAttr(None)
    _share_file: Path | None = PrivateAttr(None)
    _share: Share | None = PrivateAttr(None)
    _started_by: str = PrivateAttr("")
    _launched: PlanConfig | None = PrivateAttr(None)
    _telling: RunTelling | None = PrivateAttr(None)
    _report: RunReport | None = PrivateAttr(None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the run's place: a second run in its lane, from the command line say, would fight for its files."""
        run = context.run
        tenant = run.tags.get("dagster/partition") if run else None
        if run is None or tenant is None:
            return
        self._share, self._telling, self._report = None, None, None
        self._started_by, self._launched = started_by(run.tags), launched_with(run)
        with translated():
            self.switches(tenant).check_not_paused()
            self._share_file = self.share_file(tenant, run.run_id)
            self._place = Place(self.folder(tenant, "locks"), tenant, lane_of(run))
        try:
            if context.instance is not None:
                end_orphans(context.instance, tenant, self.folder(tenant, "locks"), self._place.lane, run.run_id)
            self._telling = RunTelling(run, tenant, self._place.lane)
            if self._place.lane is Lane.FULL:  # what single events touch is no state of the tenant
                self._report = RunReport(run, tenant, self._started_by)
            with suppress(LmsCrmError):  # a contract that can't be read is told by the steps
                self._telling.concerns(self.store(), self.contract(tenant))
        except BaseException:
            self._leave()
            raise

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Give the place back, and the events of which nothing became known."""
        try:
            if self._share_file is not None and self._share_file.exists():
                with suppress(LmsCrmError):  # then their lease runs out
                    give_back(self.inbox(), Share.load(self._share_file))
                self._share_file.unlink()
            if context.instance is not None and (file := self.report(context.instance)) is not None and context.run:
                tell_of_page(context.instance, context.run, file)
            if self._telling is not None and context.instance is not None:
                with suppress(LmsCrmError):  # its figures are lost
                    self._telling.ended(self.store(), context.instance)
            if context.run and (tenant := context.run.tags.get("dagster/partition")):
                publish(self._settings, tenant)
        finally:
            self._leave()

    def report(self, instance: dg.DagsterInstance) -> Path | None:
        """Make the run's report of what it has told up to now, if that is not done; gives the page's file, where there is one."""
        return None if self._report is None else self._report.make(instance, self._settings, self.store)

    @property
    def _settings(self) -> Settings:
        # As the resource of warehouses has it.
        return Settings(Path(self.tenants_dir), Path(self.state_dir), Settings.from_environ().warehouse_url)

    def _leave(self) -> None:
        if self._telling is not None:
            self._telling.close()
        if self._place is not None:
            self._place.close()

    def layer(self, tenant: str, name: str, obj: str = "") -> AbstractContextManager[Tally]:
        """The block is one step of the run: what it logs and counts is that layer's."""
        return layer(self.store(), tenant, name, obj)

    @property
    def lane(self) -> Lane:
        """The lane of the run."""
        return self._place.lane if self._place is not None else Lane.FULL

    @property
    def right_of_way(self) -> RightOfWay:
        """To whom the run may have to give way."""
        return self._place if self._place is not None else Alone()

    def aside(self) -> AbstractContextManager[None]:
        """Let the tenant's other lane go on while the block does nothing but read from the network into the run's files."""
        return self._place.aside() if self._place is not None else nullcontext()

    @property
    def started_by(self) -> str:
        """Who or what started the run."""
        return self._started_by

    def switches(self, tenant: str) -> Switches:
        """What the run may do, as the tenant is switched now and as it was launched."""
        found, wished = SwitchBoard(self.store()).of(tenant), self._launched
        if wished is None:
            return found
        return found.launched(dry_run=wished.dry_run, left_out=wished.left_out, by=self._started_by)

    def why_left(self, tenant: str, run_id: str, obj: CrmObject) -> str:
        """Why a run leaves an object alone, in plain words; empty where it doesn't."""
        switches = self.switches(tenant)
        if obj in switches.left_out:
            return f"it is left alone, {switches.only}"
        return "" if self.is_concerned(tenant, run_id, obj) else f"no event touches a {obj}"

    def contract(self, tenant: str) -> Contract:
        """The tenant's contract as it stands now."""
        return load_contract(Path(self.tenants_dir), tenant)

    def names(self) -> list[str]:
        """All tenants that have a contract."""
        return tenant_names(Path(self.tenants_dir))

    def store(self) -> OperationalStore:
        """What the runs of this state folder share: rates, breakers, quotas, kept tokens."""
        return OperationalStore.at(Path(self.state_dir))

    def forgotten(self, tenant: str) -> Marks:
        """The marks of the tenant's learners who were forgotten; `CredentialError` where there are some and no key."""
        return Suppression.at(Path(self.state_dir)).marks(tenant)

    def inbox(self) -> Inbox:
        """What was delivered for the tenants; `CredentialError` where there is no key."""
        return Inbox.at(Path(self.state_dir))

    def folder(self, tenant: str, purpose: str) -> Path:
        """A folder of the tenant's own."""
        return Path(self.state_dir) / purpose / tenant

    def share(self, tenant: str, run_id: str) -> Share:
        """The events that the run took; none where it took none, or has yet to."""
        if self._share is None and (file := self.share_file(tenant, run_id)).exists():
            self._share = Share.load(file)
        return self._share or Share()

    def keep_share(self, tenant: str, run_id: str, share: Share) -> None:
        """Keep which events the run took, for its steps to come."""
        share.save(self.share_file(tenant, run_id))
        self._share = share

    def share_file(self, tenant: str, run_id: str) -> Path:
        """Where a run keeps which events it took."""
        return self.folder(tenant, "events") / f"{run_id}.json"

    def is_concerned(self, tenant: str, run_id: str, what: LmsEntity | CrmObject) -> bool:
        """Whether the run has to do with an entity or object: one of events only with what its events touch."""
        if self.lane is Lane.FULL:
            return True
        share = self.share(tenant, run_id)
        return what in (share.entities if isinstance(what, LmsEntity) else share.objects)

    def landing(self, tenant: str) -> Path:
        """Where the run's lane lands what it reads; there is one run in it at a time."""
        return self.folder(tenant, "landing") / self.lane


class WarehouseResource(DuckDBResource):
    """One warehouse a tenant.

    The base class gives up its lock only on success and knows one file only.
    """

    database: str = Field(description="LMS_CRM_WAREHOUSE; empty: each tenant has a DuckDB file in the state folder.")
    state_dir: str = Field(description="The state folder.")

    @property
    def url(self) -> SecretStr | None:
        """The setting of where the warehouses lie, where it is set."""
        return SecretStr(self.database) if self.database else None

    @contextmanager
    def connect(self, tenant: str, settings: Mapping[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the tenant's warehouse, closed whatever happens; `settings` come before the resource's own."""
        location = location_of(self.url, Path(self.state_dir), tenant)
        with connect(location, {**self.connection_config, **(settings or {})}) as con:
            yield con
