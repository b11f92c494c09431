"""Writes features with file names and labels, for other tools."""

import pathlib
from typing import BinaryIO

import jax
import numpy as np

from lens_jax.errors import UserError
from lens_jax.eval.suites.base import Subject
from lens_jax.workdir.files import writing_to

FORMATS = (".npz", ".parquet")


def check_file(path: str) -> None:
    """Raises `UserError` for a file of another format, or in a folder that there is not."""
    file = pathlib.Path(path)
    if file.suffix not in FORMATS:
        raise UserError(
            f"--embed={path} is of no known format: its name must end in {' or '.join(FORMATS)}"
        )
    if not file.absolute().parent.is_dir():
        raise UserError(f"--embed={path}: there is no folder {file.absolute().parent}; make it")


def write(subject: Subject, path: str) -> None:
    """Writes the features of the test images, in their order, and prints how many.

    Columns: "name", see `data.records.Record`; "label", the name of its class; and "features", of
    the tap before the head, float32 [d].
    """
    (tap,) = subject.taps[-1:]
    rows = subject.rows(subject.test)
    names = [subject.test[int(position)]["name"] for position in rows.positions]
    labels = [subject.test.class_names[label] for label in rows.labels]
    if jax.process_index() != 0:
        return
    write_columns = _write_npz if path.endswith(".npz") else _write_parquet
    # Under another name until it is complete.
    unfinished = pathlib.Path(f"{path}.unfinished")
    with writing_to(path):
        with unfinished.open("wb") as file:
            write_columns(file, names, labels, rows.taps[tap])
        unfinished.replace(path)
    print(f"wrote {len(names):,} embeddings of {rows.taps[tap].shape[1]} numbers to {path}")


def _write_npz(file: BinaryIO, names: list[str], labels: list[str], features: np.ndarray) -> None:
    np.savez(file, name=np.array(names), label=np.array(labels), features=np.asarray(features))


def _write_parquet(
    file: BinaryIO, names: list[str], labels: list[str], features: np.ndarray
) -> None:
    # Imported only now, as all else does without it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = features.shape[1]
    flat = pa.array(np.asarray(features).reshape(-1))
    columns = {
        "name": pa.array(names),
        "label": pa.array(labels),
        "features": pa.FixedSizeListArray.from_arrays(flat, size),
    }
    pq.write_table(pa.table(columns), file)
