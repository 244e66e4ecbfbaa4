"""Progress of long work, for a person who waits at a terminal: on stderr, gone when the work ends, never in a file."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

Step = Callable[[str, int, int], None]
"""Called with what is under way, how much is done and how much there is in all; 0 of 0 where nobody knows."""

T = TypeVar("T")
_EVERY = 500


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """A bar as long as the block runs, where stderr is a terminal; elsewhere nothing at all is written."""
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[current]}", markup=False),
        console=console,
        transient=True,
        # Else what a command prints meanwhile would go to stderr too.
        redirect_stdout=False,
        # Rich takes what merely forces colours, a CI's settings say, for a terminal.
        disable=not sys.stderr.isatty() or console.is_dumb_terminal,
    )
    with bar:
        task = bar.add_task(title, total=None, current="")
        yield lambda current, done, total: bar.update(task, completed=done, total=total or None, current=current)


def counted(items: Iterable[T], step: Step, what: str) -> Iterator[T]:
    """The items as they are; their number is told on the way, `what` names them."""
    for number, item in enumerate(items, 1):
        if number % _EVERY == 0:
            step(f"{number:,} {what}", 0, 0)
        yield item
