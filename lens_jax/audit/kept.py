"""The audit's output folder: the result of each part, kept as soon as it is finished."""

import json
import pathlib
from typing import Any

import numpy as np

from lens_jax.audit.reading import Reading
from lens_jax.workdir.files import write_whole, writing_to

PARTS_FOLDER = "parts"
# Raised whenever what a part computes, or how it is kept, changes.
_FORMAT = 2
_SMALL = "small.npy"
_STATISTICS = "statistics_{}.npy"


def read_result(output: str, name: str, key: str) -> Any:
    """The result of a part, plain JSON values; None unless it was kept under the same key."""
    path = pathlib.Path(output) / PARTS_FOLDER / f"{name}.json"
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    is_same = isinstance(kept, dict) and kept.get("format") == _FORMAT and kept.get("key") == key
    return kept.get("result") if is_same else None


def write_result(output: str, name: str, key: str, result: Any) -> None:
    """Keeps the result of a part; raises `UserError` where it cannot be written."""
    folder = pathlib.Path(output) / PARTS_FOLDER
    with writing_to(output):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, "key": key, "result": result})
        write_whole(folder / f"{name}.json", text)


def write_reading(output: str, reading: Reading) -> dict[str, Any]:
    """Keeps the arrays of a reading as files; returns the rest as plain JSON values."""
    folder = pathlib.Path(output) / PARTS_FOLDER
    with writing_to(output):
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / _SMALL, reading.small)
        for name, values in reading.statistics.items():
            np.save(folder / _STATISTICS.format(name), values)
    return {
        "columns": reading.columns,
        "kept": reading.kept.tolist(),
        "statistics": list(reading.statistics),
    }


def load_reading(output: str, result: dict[str, Any]) -> Reading:
    """The reading of which `write_reading` returned a part."""
    folder = pathlib.Path(output) / PARTS_FOLDER
    kept = np.array(result["kept"], int)
    statistics = {}
    for name in result["statistics"]:
        statistics[name] = _map(folder / _STATISTICS.format(name))
    return Reading(result["columns"], kept, _map(folder / _SMALL), statistics)


def write_arrays(output: str, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Keeps the arrays of a part as files; raises `UserError` where they cannot be written."""
    folder = pathlib.Path(output) / PARTS_FOLDER / name
    with writing_to(output):
        folder.mkdir(parents=True, exist_ok=True)
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array)


def load_arrays(output: str, name: str, keys: list[str]) -> dict[str, np.ndarray]:
    """Those of the arrays that `write_arrays` kept."""
    folder = pathlib.Path(output) / PARTS_FOLDER / name
    return {key: np.array(_map(folder / f"{key}.npy")) for key in keys}


def _map(path: pathlib.Path) -> np.ndarray:
    """An array in a file, mapped into memory: a view of numbers, and never of objects."""
    return np.lib.format.open_memmap(path, mode="r")
