"""A collection in parts."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items in order, `size` at a time, the last part as long as it comes."""
    left = iter(items)
    while part := tuple(islice(left, size)):
        yield part
