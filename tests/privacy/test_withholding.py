"""An error of a library says where, not what it choked on."""

import traceback
from collections.abc import Callable

import dagster as dg
import duckdb
import pytest

from lms_crm_assets.defs.edge import translated
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.withholding import REVEAL, WithheldError

ADDRESS = "jane@example.org"


def _convert() -> None:
    with duckdb.connect() as con:
        con.execute("SELECT $1::INTEGER", [ADDRESS])


def _ours() -> None:
    try:
        _convert()
    except duckdb.Error as exc:
        raise RetryableError("the warehouse is busy") from exc


@pytest.mark.parametrize(("fail", "kind"), [(_convert, WithheldError), (_ours, dg.Failure)])
def test_what_dagster_keeps_of_an_error_quotes_no_value(
    fail: Callable[[], None], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset
    def failing() -> None:
        with translated():
            fail()

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([failing], instance=instance, raise_on_error=False)
        kept = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))

    assert kind.__name__ in kept
    assert "duckdb.ConversionException" in kept
    assert "_convert" in kept
    assert ADDRESS not in kept

    monkeypatch.setenv(REVEAL, "1")
    with pytest.raises(Exception, match=r".+") as raised, translated():
        fail()
    assert ADDRESS in "".join(traceback.format_exception(raised.value))
