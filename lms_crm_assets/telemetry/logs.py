"""Where lines of the log go and how they look: JSON for machines, words on a terminal.

A line has `timestamp`, `level`, `event` and the ids of what it is about: `tenant`, `run_id`, `lane`, `layer`, `object`,
`batch_id`, `delivery_id`. They are bound once, where the work begins (`structlog.contextvars`), and stand in every line
below. What libraries log (`logging`) from WARNING on goes the same way, and everything passes `redaction`.

`LMS_CRM_LOG_FORMAT` is json or text, `LMS_CRM_LOG_LEVEL` the least level, `LMS_CRM_LOG_FILE` a file that gets the lines as
JSON too.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import orjson
import structlog

from lms_crm_assets.errors import FatalError
from lms_crm_assets.telemetry.redaction import redacted, redacted_text

P = ParamSpec("P")
T = TypeVar("T")
Line = MutableMapping[str, Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_FORMATS = ("json", "text")
_FIRST = ("timestamp", "level", "event")
_MOST_PLACES = 6
_OURS_ONLY = ("dagster",)
"""Libraries that write their own lines: Dagster's go to its event log."""


@dataclass(frozen=True)
class _Sink:
    """Where lines of this level and above go, and how they look there."""

    level: int
    rendered: Callable[[Line], str]
    write: Callable[[str], None]


_sinks: list[_Sink] = []
_writing = threading.Lock()


def for_commands(environ: Mapping[str, str] = os.environ) -> None:
    """Log as commands of a person do: their screen gets warnings alone, unless the environment says otherwise."""
    _configure("warning", environ)


def for_services(environ: Mapping[str, str] = os.environ) -> None:
    """Log as the receiver, the worker and Dagster's processes do: what happens, run by run and batch by batch."""
    _configure("info", environ)


def for_services_unless_configured() -> None:
    """The same where no command has said how to log yet."""
    if not _sinks:
        for_services()


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """The call, to be made by another thread with the ids, counters and spans of the one that asks for it."""
    context = copy_context()

    def there(*args: P.args, **named: P.kwargs) -> T:
        # A context can be entered by one thread at a time.
        return context.copy().run(call, *args, **named)

    return there


@contextmanager
def bound(**ids: Any) -> Iterator[None]:
    """Let every line of the block carry these ids; those that are empty are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value}):
        yield


def _configure(usual: str, environ: Mapping[str, str]) -> None:
    told = environ.get("LMS_CRM_LOG_LEVEL", "").strip().lower()
    looks = environ.get("LMS_CRM_LOG_FORMAT", "").strip().lower()
    if told and told not in _LEVELS:
        raise FatalError(f"LMS_CRM_LOG_LEVEL is {told[:20]}: it has to be one of {', '.join(_LEVELS)}")
    if looks and looks not in _FORMATS:
        raise FatalError(f"LMS_CRM_LOG_FORMAT is {looks[:20]}: it has to be json or text")
    sinks = [_Sink(_LEVELS[told or usual], {"json": _json, "text": _text}.get(looks, _as_the_screen_likes), _to_stderr)]
    if file := environ.get("LMS_CRM_LOG_FILE", "").strip():
        # Who wants a file wants to know what happened, also of commands whose screen stays clean.
        sinks.append(_Sink(_LEVELS[told or "info"], _json, _File(Path(file)).write))
    _sinks[:] = sinks
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _finished,
            lambda _logger, _method, line: ((line,), {}),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(sink.level for sink in sinks)),
        logger_factory=lambda *_: _Out(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _FromLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_FromLibraries(logging.WARNING))


class _Out:
    """What structlog hands finished lines to."""

    def msg(self, line: Line) -> None:
        _write(line)

    debug = info = warning = error = critical = log = msg


class _FromLibraries(logging.Handler):
    """What libraries log, as lines of ours: `event` is `library`, their text is `message`."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OURS_ONLY):
            return
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's mistake must not become ours
            text = str(record.msg)
        line: Line = {**structlog.contextvars.get_contextvars(), "event": "library", "level": record.levelname.lower()}
        line.update(logger=record.name, message=text)
        if record.exc_info:
            line["exc_info"] = record.exc_info
        _write(_finished(None, "", line))


def _finished(_logger: Any, _method: str, line: Line) -> Line:
    """Dated, without secrets; of an exception its kind and its places, for its text may quote what was sent."""
    exc_info = line.pop("exc_info", None)
    if exc_info:
        line.update(_told_of(sys.exc_info() if exc_info is True else exc_info))
    event, level = redacted_text(str(line.pop("event", ""))), line.pop("level", "info")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "event": event, **redacted(line)}


def _told_of(exc_info: Any) -> dict[str, Any]:
    exc = exc_info if isinstance(exc_info, BaseException) else exc_info[1] if isinstance(exc_info, tuple) else None
    if exc is None:
        return {}
    trace: TracebackType | None = exc.__traceback__
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-_MOST_PLACES:]]
    return {"error": type(exc).__name__, "at": places}


def _write(line: Line) -> None:
    level = _LEVELS.get(line["level"], logging.ERROR)
    for sink in _sinks:
        if level >= sink.level:
            text = sink.rendered(line)
            # A log that can't be written must not end what it tells of.
            with suppress(OSError, ValueError), _writing:
                sink.write(f"{text}\n")


def _json(line: Line) -> str:
    return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS).decode()


def _text(line: Line) -> str:
    ids = " ".join(f"{name}={_printable(value)}" for name, value in line.items() if name not in _FIRST)
    return f"{line['timestamp'][11:19]} {line['level']:<7} {line['event']} {ids}".rstrip()


def _printable(value: Any) -> str:
    """A value as one word of a line: what a sender chose can't begin another."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if text.isprintable() and " " not in text else repr(text)


def _as_the_screen_likes(line: Line) -> str:
    return _text(line) if sys.stderr.isatty() else _json(line)


def _to_stderr(text: str) -> None:
    # Asked for each time: a progress bar, Dagster and tests put another one there.
    sys.stderr.write(text)
    sys.stderr.flush()


class _File:
    """A file that others append to as well, and that may be moved away: then a new one is begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as exc:
            raise FatalError(
                f"the file {path} of LMS_CRM_LOG_FILE can't be written: {os.strerror(exc.errno or 0)}"
            ) from exc

    def write(self, text: str) -> None:
        try:
            moved = self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            former = self._file
            # Closed only once there is another: a number that was given back is the next file's that anybody opens.
            self._open()
            os.close(former)
        os.write(self._file, text.encode())

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inode = os.fstat(self._file).st_ino
