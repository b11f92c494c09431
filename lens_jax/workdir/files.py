"""The files in a run's folder: their names, their format, and how they are read and written."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from etils import epath

from lens_jax.errors import UserError, reason

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
RESULTS_FILE = "linear_eval.json"
EVALUATION_FILE = "evaluation.json"
FEATURES_FOLDER = "features"
FAILURE_FILE = "failure.txt"
LOCK_FILE = ".lock"
CHECKPOINTS_FOLDER = "checkpoints"
DIGESTS_FILE = "digests.json"  # in each checkpoint
DAMAGED_FOLDER = "checkpoints_damaged"
CACHE_FOLDER = "compilation_cache"
REPORT_FOLDER = "report"
SUMMARY_FILE = "summary.json"

# The format of configs and checkpoints. Raised whenever older code could not read them.
FORMAT = 2


# What these stand for in a pattern, which Orbax makes of a path to look for what it has written.
_PATTERN_CHARACTERS = "*?[]"


def check_name(workdir: str) -> None:
    """Raises `UserError` for a folder whose checkpoints could be written and never be read."""
    path = epath.Path(workdir).absolute()
    found = [character for character in _PATTERN_CHARACTERS if character in str(path)]
    if found:
        raise UserError(
            f"{path} has {' '.join(found)} in its name, where checkpoints cannot be read: rename "
            f"the folder or choose another, without any of {' '.join(_PATTERN_CHARACTERS)}"
        )


def is_run(workdir: str) -> bool:
    """Whether a training was ever started in the folder `workdir`."""
    return (epath.Path(workdir) / CONFIG_FILE).exists()


def write_config(workdir: str, config: dict[str, Any], init: str = "") -> None:
    """Writes the config of a run, plain JSON values, with the number of the format.

    Beside it stands the folder of the run with whose networks this one begins, if there is one.
    """
    folder = epath.Path(workdir)
    origin = {"init": init} if init else {}
    text = json.dumps({"format": FORMAT, **origin, "config": config}, indent=2)
    with writing_to(workdir):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CONFIG_FILE, text + "\n")


class Record(NamedTuple):
    """What is written of a run when it begins.

    Attributes:
      config: its config, plain JSON values.
      init: the folder of the run with whose networks it began, or empty.

    """

    config: dict[str, Any]
    init: str


def read_config(workdir: str) -> dict[str, Any]:
    """The config of the run in `workdir`; raises `UserError` for one of another format."""
    return read_record(workdir).config


def read_record(workdir: str) -> Record:
    """What is written of the run in `workdir`; raises `UserError` for one of another format."""
    path = epath.Path(workdir) / CONFIG_FILE
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path} holds no config: restore it or remove its folder")
    check_format(record, workdir)
    return Record(record["config"], record.get("init", ""))


def check_format(record: dict[str, Any], where: str) -> None:
    """Raises `UserError` unless a config file or a checkpoint's `run` is of this code's format.

    Format 1, the first, had no number.
    """
    found = record.get("format", 1)
    if found != FORMAT:
        raise UserError(
            f"{where} was written in format {found}, and this code reads format {FORMAT}: use the "
            "version of lens_jax that wrote it, or train again in another --workdir"
        )


def read_json(path: epath.Path) -> Any:
    """The content of a JSON file; raises `UserError` where it is none."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; restore it or remove its folder") from error


def write_whole(path: epath.Path, text: str) -> None:
    """Writes a file under another name and renames it when it is complete.

    A reader never sees half of it, a process that is killed leaves the old file as it was, and of
    several writers the last one wins.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def writing_to(workdir: str) -> Iterator[None]:
    """Turns what the file system refuses into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to {workdir}: {reason(error)}; make room there, or give another folder"
        ) from error
