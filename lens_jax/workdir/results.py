"""Where results of evaluations are kept: a JSON list in a folder, the run's own by default."""

import json
from typing import Any

import jax
from etils import epath

from lens_jax.workdir import files

Result = dict[str, Any]

# The keys that say on what data a result was measured. The folder is none: data that was moved is
# the same by its fingerprints. Older results lack some of these.
DATA_KEYS = (
    "dataset",
    "full_name",
    "train_split",
    "test_split",
    "train_examples",
    "test_examples",
    "train_fingerprint",
    "test_fingerprint",
    "boxes",
)
# The keys by which two results are of the same evaluation.
IDENTITY = ("step", "network", "representation", "solver", *DATA_KEYS)
SUITE_IDENTITY = ("step", "network", "representation", "suite", "options", "data")
# Results from before there was a choice are of the trained network, on whole images.
_OLDER = {"network": "online", "boxes": "none"}
_BOXES = {"each": "boxes", "largest": "largest boxes"}


def read_results(workdir: str) -> list[Result]:
    """The results of `linear_eval` in the folder `workdir`, newest last.

    Raises `UserError` where the file is not JSON.
    """
    rows = _read(workdir, files.RESULTS_FILE)
    return [_OLDER | row for row in rows]


def add_result(workdir: str, result: Result) -> None:
    """Adds a result of `linear_eval` in place of an older one of the same evaluation.

    The first process writes for all. Raises `UserError` where it cannot.
    """
    _add(workdir, files.RESULTS_FILE, read_results(workdir), result, IDENTITY)


def read_evaluations(workdir: str) -> list[Result]:
    """The results of the suites in the folder `workdir`, newest last, as `add_evaluation`."""
    return _read(workdir, files.EVALUATION_FILE)


def add_evaluation(workdir: str, result: Result) -> None:
    """Adds a result of a suite in place of an older one of the same evaluation.

    That is one of the same step, network, representation, suite with all its options, and data. The
    first process writes for all. Raises `UserError` where it cannot.
    """
    _add(workdir, files.EVALUATION_FILE, read_evaluations(workdir), result, SUITE_IDENTITY)


def _read(workdir: str, name: str) -> list[Result]:
    path = epath.Path(workdir) / name
    return files.read_json(path) if path.exists() else []


def _add(
    workdir: str, name: str, rows: list[Result], result: Result, identity: tuple[str, ...]
) -> None:
    """Writes the rows and the result, without the rows of its identity."""

    def identify(row: Result) -> list[Any]:
        return [row.get(key) for key in identity]

    # Every process has read the rows, so that all fail alike where the file is damaged.
    kept = [row for row in rows if identify(row) != identify(result)]
    if jax.process_index() == 0:
        path = epath.Path(workdir) / name
        text = json.dumps([*kept, result], indent=2)
        with files.writing_to(workdir):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(path, f"{text}\n")


def describe_data(result: Result) -> str:
    """On what a result was measured, such as "digits/1.0.0 test, 360 images, online network".

    An older result names what it knows.
    """
    name = result.get("full_name") or result.get("dataset", "")
    folder = result.get("folder", "")
    # The folder of an image folder is all that tells it from others.
    title = f"{name} {folder}" if name == "image_folder" and folder else name
    split = result.get("test_split", "")
    text = f"{title} {split}".strip()
    images = result.get("test_examples")
    if images is not None:
        # An example is a whole image, unless the result says something else.
        boxes = _BOXES.get(result.get("boxes", ""))
        text += f", {images:,} {boxes or 'images'}"
    network = result.get("network")
    if network:
        text += f", {network} network"
    return text
