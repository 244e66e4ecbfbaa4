"""What every asset needs at the edge: the partitions, translated errors, readable metadata."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from lms_crm_assets import interrupt
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError, LmsCrmError
from lms_crm_assets.withholding import discreet

# Dynamic, so that a new tenant file needs no restart.
TENANTS = dg.DynamicPartitionsDefinition(name="tenants")


def key(layer: str, name: str) -> dg.AssetKey:
    """The key of one asset of a layer; Dagster stores plain texts only, no enumeration's members."""
    return dg.AssetKey([layer, f"{name}"])


def tenants_known(instance: dg.DagsterInstance) -> set[str]:
    """The tenants whose CRM state is known: before that only a full run tells the truth."""
    seen = instance.get_materialized_partitions(key("crm_snapshot", CrmObject.CONTACT))
    return seen & set(instance.get_dynamic_partitions(str(TENANTS.name)))


TABLE_LIMIT = 50
"""Rows of a sample table in the UI."""

PASSING = "may_pass_by_itself"
"""Metadata of a failure: whether the same run may succeed later."""

ERROR = "error"
"""Metadata of a failure: the class of the error, see `errors`."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the package's errors into Dagster failures with one clear line; a person's errors are not retried.

    What else goes wrong is told without its text, which may quote learner data. After a person's wish to stop Dagster would go on with steps that don't need the one that was stopped: none begins.
    """
    try:
        interrupt.check()
        yield
    except LmsCrmError as exc:
        passing = not isinstance(exc, FatalError)
        raise dg.Failure(
            str(exc), metadata={PASSING: passing, ERROR: type(exc).__name__}, allow_retries=passing
        ) from discreet(exc)
    except (dg.Failure, dg.RetryRequested, dg.DagsterError):
        raise
    except Exception as exc:
        if (told := discreet(exc)) is exc:
            raise
        raise told from told.__cause__


def table(
    rows: Iterable[Mapping[str, str | int | float | bool | None]], columns: Mapping[str, str]
) -> dg.TableMetadataValue:
    """A table for the UI; `columns` maps each column to what it means."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: row[name] for name in columns}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, description=text) for name, text in columns.items()]),
    )


def plain(text: str) -> str:
    """A text of the LMS's in Markdown, as it is: no link, no cell of its own."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~-])", r"\\\1", text)
