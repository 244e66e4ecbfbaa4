"""Traces by OpenTelemetry, for those who collect them: spans of a run, its layers, its batches and the calls.

The API is always there and does nothing; spans are made where the SDK is installed (`pip install lms-crm-assets[otel]`) and
`OTEL_EXPORTER_OTLP_ENDPOINT` names a collector. Attributes are ids and numbers, as in the log.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("lms_crm_assets")
_begun: list[bool] = []


def begin(environ: Mapping[str, str] = os.environ) -> None:
    """Send this process's spans to where the environment says; once, and nothing where it doesn't say."""
    if _begun or not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    _begun.append(True)
    try:
        # Where they are not installed, or not asked for, they cost no start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning("traces_off", why="OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install lms-crm-assets[otel]")
        return
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "lms-crm"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A span around the block; of an error that leaves it the kind alone is kept, for its text may quote data."""
    told = {f"lms_crm.{attribute}": value for attribute, value in attributes.items() if value != ""}
    with _tracer.start_as_current_span(
        name, attributes=told, record_exception=False, set_status_on_exception=False
    ) as found:
        try:
            yield
        except BaseException as exc:
            found.set_status(Status(StatusCode.ERROR, type(exc).__name__))
            raise
