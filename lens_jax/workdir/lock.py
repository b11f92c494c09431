"""One run at a time in a work directory."""

import fcntl
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from absl import logging

from lens_jax.errors import UserError
from lens_jax.workdir import files


@contextmanager
def hold(workdir: str) -> Iterator[None]:
    """Holds `workdir`, which is made if need be; raises `UserError` where another run holds it.

    The lock ends with its process, so a killed run leaves none behind. Of several processes, the
    first takes it for all. Buckets have no locks, nor have some file systems: there, nothing is
    held.
    """
    if jax.process_index() > 0 or "://" in workdir:
        yield
        return
    folder = pathlib.Path(workdir)
    with files.writing_to(workdir):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / files.LOCK_FILE).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is training in {workdir}: wait for its end, or give another --workdir"
            ) from error
        except OSError as error:
            logging.warning(
                "%s cannot be locked (%s): start no second run in it", workdir, error.strerror
            )
        yield
