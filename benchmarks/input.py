"""Measures reading: images a second that a core decodes, crops at random and resizes, beside what
else can.

    python -m benchmarks.input
    python -m benchmarks.input --images=500 --seconds=10 --threads 1 4 --json=input.json

Photograph-like JPEGs are prepared in a temporary folder, as a stand-in for ImageNet; the operating
system keeps files that small in memory. They are read in these ways, in batches of 64:

    reader, N threads    `train_batches` from ArrayRecord
    reader, N workers    the same in worker processes of Grain's, with two threads each
    decoder alone        `random_crop_resize` in a plain loop, of bytes that are in memory already
    whole images         nothing but the decoding of all pixels, in such a loop
    tf.data              from TFRecord as ImageNet is usually read with it:
    `sample_distorted_bounding_box`,
                         `decode_and_crop_jpeg`, `resize`, in as many threads as it finds best

Every way has a process of its own, which reads for a second before it is measured. They take turns,
in three rounds, and the medians are told. What a core reads is the number of images by the seconds
of CPU that the process and its children took for them: busy machines leave that nearly alone.

It needs TensorFlow, and takes seven minutes.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import grain
import numpy as np
import psutil
from absl import flags

from lens_jax.data import decode
from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.source import Source, open_source
from lens_jax.errors import UserError

ROUNDS = 3
BATCH_SIZE = 64
WARM_UP = 1.0
WORKERS = (1, 2)
FORMATS = "array_record", "tfrecord"
DATA_SET, EPOCH = "imagenet2012", 1_281_167
ALONE, WHOLE, TF_DATA = "decoder alone", "whole images", "tf.data"
# The least that a core should read of what it does by the decoder alone, and of what it does by
# tf.data.
TARGETS = {ALONE: 0.9, TF_DATA: 1.2}
# Between them lie the sides of ImageNet's photographs, most of which are 500 x 375.
_SHORT_SIDES, _LONG_SIDE = (333, 420), 500
_OCTAVES, _CONTRAST, _COLOR = 9, 16.0, 0.3
_QUALITY = 90


class Measured(NamedTuple):
    """What reading came to.

    Attributes:
      images_per_second: of all threads and processes together.
      images_per_core_second: the same for every second of CPU that they took.
      cpu_milliseconds: of CPU for an image.
      held_mebibytes: by which the resident memory of all processes has grown.

    """

    images_per_second: float
    images_per_core_second: float
    cpu_milliseconds: float
    held_mebibytes: float


class Way(NamedTuple):
    """One way to read: opens a folder of `prepare` for images of a size, and gives batches of so many."""

    open: Callable[[str, int], Iterator[Any]]
    batch_size: int


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise about as strong at each scale, as in photographs: uint8 [height, width, 3]."""
    image = np.full((height, width, 3), 128, np.float32)
    for scale in (2**octave for octave in range(_OCTAVES)):
        noise = rng.standard_normal((height // scale + 2, width // scale + 2, 3), np.float32)
        gray = (1 - _COLOR) * noise[..., :1] + _COLOR * noise
        image += (
            _CONTRAST
            * scale**0.1
            * cv2.resize(gray, (width, height), interpolation=cv2.INTER_CUBIC)
        )
    return image.clip(0, 255).astype(np.uint8)


def make_jpeg(index: int) -> bytes:
    """Photograph `index` as JPEG: about 90 kB, every fourth of them upright."""
    rng = np.random.default_rng(index)
    sides = int(rng.integers(*_SHORT_SIDES)), _LONG_SIDE
    image = photograph(rng, *(sides if index % 4 else sides[::-1]))
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def prepare(folder: str, images: int) -> None:
    """Writes that many photographs into `folder`, by TFDS, once in each of `FORMATS`."""
    import tensorflow_datasets as tfds

    jpegs = [make_jpeg(index) for index in range(images)]

    class Imagenet2012(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """A stand-in, under the name by which ImageNet is opened."""

        VERSION = tfds.core.Version("5.1.0")

        def _info(self) -> tfds.core.DatasetInfo:
            label = tfds.features.ClassLabel(names=["photograph"])
            features = {"image": tfds.features.Image(encoding_format="jpeg"), "label": label}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            return ((index, {"image": data, "label": 0}) for index, data in enumerate(jpegs))

    tfds.disable_progress_bar()
    for each in FORMATS:
        with contextlib.redirect_stdout(io.StringIO()):
            Imagenet2012(data_dir=Path(folder, each), file_format=each).download_and_prepare()


def read_in_threads(threads: int, folder: str, size: int) -> Iterator[Any]:
    """The project's reader."""
    source = _opened(folder)
    return train_batches(
        source,
        Skipped(source),
        batch_size=BATCH_SIZE,
        image_size=size,
        crop="random",
        seed=0,
        threads=threads,
    )


def read_in_workers(workers: int, folder: str, size: int) -> Iterator[Any]:
    """What the reader does, in worker processes."""
    # Grain looks at its own flags before it starts a process.
    flags.FLAGS.mark_as_parsed()

    def load(index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        record = _opened(folder)[index]
        image = decode.random_crop_resize(record["image"], size, rng)
        return {"image": image, "label": np.int32(record["label"])}

    order = grain.MapDataset.range(EPOCH).seed(0).shuffle().repeat()
    batches = order.random_map(load).batch(BATCH_SIZE).to_iter_dataset(grain.ReadOptions(2, 2))
    return iter(batches.mp_prefetch(grain.MultiprocessingOptions(workers)))


def read_alone(folder: str, size: int) -> Iterator[np.ndarray]:
    """The decoder of the reader, and nothing around it."""
    rng = np.random.default_rng(0)
    return (decode.random_crop_resize(data, size, rng) for data in _in_memory(folder))


def read_whole(folder: str, size: int) -> Iterator[np.ndarray]:
    """All pixels of every image, at whatever size it has."""
    return (decode.decode(data) for data in _in_memory(folder))


def read_with_tf(folder: str, size: int) -> Iterator[Any]:
    """The recipe of tf.data for ImageNet, with crops from the same ranges."""
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def load(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(data, features)
        corner, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(example["image"]),
            tf.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4]),
            aspect_ratio_range=decode.ASPECT_RANGE,
            area_range=decode.AREA_RANGE,
            max_attempts=10,
        )
        window = tf.concat([corner[:2], extent[:2]], axis=0)
        image = tf.image.decode_and_crop_jpeg(example["image"], window, channels=3)
        return tf.cast(tf.image.resize(image, [size, size]), tf.uint8), example["label"]

    files = [str(path) for path in Path(folder, "tfrecord").rglob("*.tfrecord*")]
    records = tf.data.TFRecordDataset(files).repeat().shuffle(16 * BATCH_SIZE)
    batches = records.map(load, tf.data.AUTOTUNE).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)
    return batches.as_numpy_iterator()


def _open(folder: str) -> Source:
    return open_source(DATA_SET, "train", str(Path(folder, "array_record")))


@functools.cache
def _opened(folder: str) -> Source:
    """The same images over and over, as many as ImageNet has: the shuffling of few takes longer for each."""
    source = _open(folder)
    return Source(source.class_names, EPOCH, lambda index: source.read(index % source.size))


def _in_memory(folder: str) -> Iterator[bytes]:
    source = _open(folder)
    return itertools.cycle([source[index]["image"] for index in range(len(source))])


def ways(threads: Sequence[int]) -> dict[str, Way]:
    """All ways to read, by their names."""
    return {
        ALONE: Way(read_alone, 1),
        WHOLE: Way(read_whole, 1),
        TF_DATA: Way(read_with_tf, BATCH_SIZE),
        **{
            _reader(n, "thread"): Way(functools.partial(read_in_threads, n), BATCH_SIZE)
            for n in threads
        },
        **{
            _reader(n, "worker"): Way(functools.partial(read_in_workers, n), BATCH_SIZE)
            for n in WORKERS
        },
    }


def _reader(number: int, kind: str) -> str:
    return f"reader, {number} {kind}{'s' if number > 1 else ''}"


def measure(way: Way, folder: str, size: int, seconds: float) -> Measured:
    """Reads for `WARM_UP` seconds, then for as long as is asked for, and tells of the latter."""
    batches = way.open(folder, size)
    before = held_bytes()
    _count(batches, WARM_UP)
    began, cpu = time.perf_counter(), cpu_seconds()
    images = _count(batches, seconds) * way.batch_size
    elapsed, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    held = (held_bytes() - before) / 2**20
    return Measured(images / elapsed, images / cpu, 1000 * cpu / images, held)


def _count(batches: Iterator[Any], seconds: float) -> int:
    """How many batches there are in so many seconds, at least one."""
    end, count = time.perf_counter() + seconds, 0
    while not count or time.perf_counter() < end:
        next(batches)
        count += 1
    return count


def cpu_seconds() -> float:
    """Seconds of CPU that this process and its children have taken so far."""
    return sum(each.cpu_times().user + each.cpu_times().system for each in _family())


def held_bytes() -> int:
    """Resident memory of this process and its children."""
    return sum(each.memory_info().rss for each in _family())


def _family() -> list[psutil.Process]:
    process = psutil.Process()
    return [process, *process.children(recursive=True)]


def apart(function: Callable, *args: Any) -> Any:
    """What a function returns in a new process."""
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_be_silent
    ) as pool:
        return pool.submit(function, *args).result()


def _be_silent() -> None:
    # TensorFlow tells there what it was compiled for; exceptions come back all the same.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def measure_by_turns(
    chosen: Mapping[str, Way], images: int, size: int, seconds: float
) -> dict[str, list[Measured]]:
    """Prepares the data, and measures every way once in each round."""
    with tempfile.TemporaryDirectory() as folder:
        apart(prepare, folder, images)
        rounds = [
            {name: apart(measure, way, folder, size, seconds) for name, way in chosen.items()}
            for _ in range(ROUNDS)
        ]
    return {name: [each[name] for each in rounds] for name in chosen}


def medians(rounds: Sequence[Measured]) -> Measured:
    """Each number's median over the rounds."""
    return Measured(*map(statistics.median, zip(*rounds, strict=True)))


def describe(results: Mapping[str, Measured]) -> str:
    """A line for each way, with what a core reads beside what it reads by the ways that `TARGETS` are for."""
    head = f"{'':20}{'images/s':>10}{'a core':>9}{'CPU ms':>9}{'MiB':>7}"
    lines = [head + "".join(f"{f'/ {name}':>17}" for name in TARGETS)]
    for name, each in results.items():
        ratios = (
            each.images_per_core_second / results[other].images_per_core_second for other in TARGETS
        )
        lines.append(
            f"{name:20}{each.images_per_second:10.0f}{each.images_per_core_second:9.0f}"
            f"{each.cpu_milliseconds:9.2f}{each.held_mebibytes:7.0f}"
            + "".join(f"{x:17.2f}" for x in ratios)
        )
    wanted = ", ".join(f"{least} of {name}" for name, least in TARGETS.items())
    return "\n".join([*lines, f"a core should read by the reader at least {wanted}"])


def write(
    path: str, options: argparse.Namespace, results: Mapping[str, Sequence[Measured]]
) -> None:
    """Writes the options, and what was measured in every round, as JSON."""
    ways = {name: [each._asdict() for each in rounds] for name, rounds in results.items()}
    values = {"options": vars(options), "cores": os.cpu_count(), "ways": ways}
    Path(path).write_text(json.dumps(values, indent=2) + "\n")


def check(options: argparse.Namespace) -> None:
    """Raises `UserError` for options that nothing can be read with."""
    for name, values in vars(options).items():
        for value in values if isinstance(values, list) else [values]:
            # Seconds of CPU are counted in hundredths.
            least = 0.1 if name == "seconds" else 1
            if name != "json" and value < least:
                raise UserError(f"--{name} is {value}: give {least} or more")
    if options.json and not Path(options.json).parent.is_dir():
        folder = str(Path(options.json).parent)
        raise UserError(f"--json {options.json!r} lies in no folder: create {folder!r} first")


def main() -> None:
    """Measures as the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500, help="how many images there are to read")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long each way reads in each round"
    )
    parser.add_argument("--size", type=int, default=224, help="side of the crops in px")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2, 4, 8], help="those of the reader"
    )
    parser.add_argument("--json", metavar="PATH", help="where the numbers are written to")
    options = parser.parse_args()
    try:
        check(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    results = measure_by_turns(ways(options.threads), options.images, options.size, options.seconds)
    print(f"{options.images} images, {options.size} px, {os.cpu_count()} cores")
    print(describe({name: medians(rounds) for name, rounds in results.items()}))
    if options.json:
        write(options.json, options, results)


if __name__ == "__main__":
    main()
