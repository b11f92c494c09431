import contextlib
import resource
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def no_file_above() -> Callable[[int], contextlib.AbstractContextManager]:
    """The context in which no file can grow beyond so many bytes, as on a disk that is full."""

    @contextlib.contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
