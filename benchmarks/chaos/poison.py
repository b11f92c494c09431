"""A bad record in a data set, which makes a run roll back once."""

from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from benchmarks.chaos.kinds import BATCH_SIZE, STEPS
from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.builders import png
from lens_jax.data.records import Source
from lens_jax.train.loop import data_seed


def poison(data: Path, index: int) -> None:
    """Gives a training record of the digits in `data` a label that none has: its loss is NaN."""
    from tensorflow_datasets.proto import tf_example_pb2

    (path,) = data.rglob("digits-train.array_record*")
    records = ArrayRecordReader(str(path)).read_all()
    example = tf_example_pb2.Example.FromString(records[index])
    example.features.feature["label"].int64_list.value[:] = [10]
    records[index] = example.SerializeToString()
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def choose_record(size: int) -> int:
    """A record that a run on `size` of them reads halfway, and never after a roll-back."""
    first = read_order(size, data_seed(0, rollbacks=0))
    again = read_order(size, data_seed(0, rollbacks=1))
    return int(next(index for index in first[STEPS // 2] if index not in again))


def read_order(size: int, seed: int) -> np.ndarray:
    """The records that each step of a run reads, [STEPS, BATCH_SIZE]."""
    pixel = png.encode(np.zeros((1, 1, 3), np.uint8))
    # The label of each record is its index.
    source = Source(("any",), size, lambda index: {"image": pixel, "label": index, "name": ""})
    batches = train_batches(
        source,
        Skipped(source),
        batch_size=BATCH_SIZE,
        image_size=1,
        crop="none",
        seed=seed,
        threads=0,
    )
    return np.stack([next(batches)["label"] for _ in range(STEPS)])
