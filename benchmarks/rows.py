"""Measures what evaluations cost that go through many rows of features.

    python -m benchmarks.rows
    python -m benchmarks.rows --rows=100000 --size=2048 --json=rows.json

Features are made: --classes clusters in --size dimensions, in a file that is mapped into memory as
the feature store's are. A vote of neighbors and logistic regression learn from all --rows of them
and are tested on --tests others. For each it prints the accuracy, the seconds, and how much memory
the process holds of its own at most, which leaves out what the system keeps of the file and can
drop at any time.
"""

import pathlib
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import psutil
from absl import flags

from benchmarks import machine
from benchmarks.command import check_json, write_json
from lens_jax import cli
from lens_jax.eval import geometry, logistic

# Standard deviation of a class's center; that of the features around it is 1.
DISTANCE = 0.15
GIBIBYTE = 2**30
_CHUNK = 10_000
_SAMPLE_SECONDS = 0.2


class Features(NamedTuple):
    """Features [n, d] and their labels [n]."""

    rows: np.ndarray
    labels: np.ndarray


class Cost(NamedTuple):
    """What an evaluation took: test accuracy, seconds, and gibibytes of memory of its own."""

    accuracy: float
    seconds: float
    gibibytes: float


def make_features(path: pathlib.Path, rows: int, size: int, classes: int, seed: int) -> Features:
    """Writes features to a file, a chunk at a time, and maps it.

    The centers of the classes are the same for all seeds.
    """
    centers = DISTANCE * np.random.default_rng(0).normal(size=(classes, size))
    rng = np.random.default_rng((1, seed))
    labels = rng.integers(0, classes, rows)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, size))
    for start in range(0, rows, _CHUNK):
        part = slice(start, min(start + _CHUNK, rows))
        noise = rng.standard_normal((part.stop - start, size), np.float32)
        file[part] = centers[labels[part]] + noise
    file.flush()
    return Features(np.lib.format.open_memmap(path, mode="r"), labels)


def by_neighbors(train: Features, test: Features) -> float:
    """The accuracy of the vote of the nearest neighbors."""
    return geometry.neighbors_accuracy(train.rows, train.labels, test.rows, test.labels)


def by_regression(train: Features, test: Features) -> float:
    """The accuracy of logistic regression."""
    classifier = logistic.fit(train.rows, train.labels, inverse_l2=0.1)
    predictions = logistic.predict(classifier, test.rows)
    return float(np.mean(predictions == test.labels))


def measure(
    evaluate: Callable[[Features, Features], float], train: Features, test: Features
) -> Cost:
    """What an evaluation takes."""
    held = [_own_bytes()]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            held.append(_own_bytes())

    sampler = threading.Thread(target=sample)
    sampler.start()
    began = time.perf_counter()
    try:
        accuracy = evaluate(train, test)
    finally:
        seconds = time.perf_counter() - began
        ended.set()
        sampler.join()
    return Cost(accuracy, seconds, max(held) / GIBIBYTE)


def _own_bytes() -> int:
    """The resident memory of this process without pages of files."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_integer("rows", 1_000_000, "Number of features to learn from.", 100)
    flags.DEFINE_integer("tests", 2000, "Number of features to test on.", 1)
    flags.DEFINE_integer("size", 512, "Numbers in a feature.", 1)
    flags.DEFINE_integer("classes", 100, "Number of classes.", 2)
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> None:
    """Measures both evaluations, and prints what they take."""
    options = flags.FLAGS
    check_json(options.json)
    print(machine.describe_machine())
    evaluations = {"neighbors": by_neighbors, "logistic regression": by_regression}
    costs = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shape = options.size, options.classes
        train = make_features(folder / "train.npy", options.rows, *shape, seed=0)
        test = make_features(folder / "test.npy", options.tests, *shape, seed=1)
        size = train.rows.nbytes / GIBIBYTE
        print(f"{options.rows:,} rows of {options.size} numbers, {size:.1f} GiB")
        for title, evaluate in evaluations.items():
            cost = measure(evaluate, train, test)
            costs[title] = cost._asdict()
            print(
                f"  {title:<20} accuracy {cost.accuracy:7.2%}  {cost.seconds:7.1f} s  "
                f"{cost.gibibytes:.2f} GiB",
                flush=True,
            )
    if options.json:
        write_json(options.json, machine.facts() | {"costs": costs})


if __name__ == "__main__":
    define_flags()
    cli.run(main)
