"""Measures reading: how many images a core decodes, crops at random and resizes in a second.

    python -m benchmarks.input
    python -m benchmarks.input --images=500 --seconds=10 --threads=1,4 --json=input.json
    python -m benchmarks.input --max_side=256

Photograph-like JPEGs are prepared in a temporary folder, as a stand-in for ImageNet; they are few
enough for the operating system to keep them in memory. With --max_side they are stored as
`lens_jax.prepare --max_side` does. They are read in these ways, in batches of
64:

    reader, N threads    `train_batches` from ArrayRecord
    reader, N workers    the same in worker processes of Grain's, with two threads each
    decoder alone        `random_crop_resize` in a plain loop, of bytes that are in memory already
    whole images         only the decoding of all pixels, in such a loop
    tf.data              from TFRecord as ImageNet usually is: `sample_distorted_bounding_box`,
                         `decode_and_crop_jpeg`, `resize`, in as many threads as it finds best

Every way has a process of its own, which reads for a second before it is measured. They take turns,
in three rounds, and the medians are printed. What a core reads is the number of images divided by
the seconds of CPU time that the process and its children took for them, which hardly depends on
what else the machine does.

It needs TensorFlow, and takes seven minutes.
"""

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

from lens_jax import cli
from lens_jax.data import decode
from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.records import Source
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

ROUNDS = 3
BATCH_SIZE = 64
WARM_UP = 1.0
WORKERS = (1, 2)
FORMATS = ("array_record", "tfrecord")
DATA_SET = "imagenet2012"
EPOCH = 1_281_167
ALONE, WHOLE, TF_DATA = "decoder alone", "whole images", "tf.data"
# The least that a core should read by the reader, as a multiple of what it reads in these ways.
TARGETS = {ALONE: 0.9, TF_DATA: 1.2}
# The range of the shorter sides. Most of ImageNet's photographs are 500 x 375.
_SHORT_SIDES = (333, 420)
_LONG_SIDE = 500
_OCTAVES = 9
_CONTRAST = 16.0
_COLOR = 0.3
_QUALITY = 90


class Measured(NamedTuple):
    """The results of reading in one way.

    Attributes:
      images_per_second: by all threads and processes together.
      images_per_core_second: images by second of CPU time.
      cpu_milliseconds: CPU time by image.
      held_mebibytes: growth of the resident memory of all processes.

    """

    images_per_second: float
    images_per_core_second: float
    cpu_milliseconds: float
    held_mebibytes: float


class Way(NamedTuple):
    """One way to read.

    Attributes:
      open: (folder, size) -> batches: of a folder that `prepare` wrote, images of `size` px.
      batch_size: images in a batch.

    """

    open: Callable[[str, int], Iterator[Any]]
    batch_size: int


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise that is about as strong at each scale, as in photographs: uint8 [height, width, 3]."""
    image = np.full((height, width, 3), 128, np.float32)
    for octave in range(_OCTAVES):
        scale = 2**octave
        shape = (height // scale + 2, width // scale + 2, 3)
        noise = rng.standard_normal(shape, np.float32)
        # The channels of photographs are alike.
        alike = (1 - _COLOR) * noise[..., :1] + _COLOR * noise
        smooth = cv2.resize(alike, (width, height), interpolation=cv2.INTER_CUBIC)
        image += _CONTRAST * scale**0.1 * smooth
    return image.clip(0, 255).astype(np.uint8)


def make_jpeg(index: int) -> bytes:
    """Photograph `index` as JPEG: about 90 kB, every fourth of them upright."""
    rng = np.random.default_rng(index)
    height, width = int(rng.integers(*_SHORT_SIDES)), _LONG_SIDE
    if index % 4 == 0:
        height, width = width, height
    image = photograph(rng, height, width)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def prepare(folder: str, images: int, max_side: int | None = None) -> None:
    """Writes that many photographs into `folder` with TFDS, once in each of `FORMATS`.

    Their shorter sides are at most `max_side`, if that is given.
    """
    import tensorflow_datasets as tfds

    from lens_jax.data.builders import copies

    jpegs = [make_jpeg(index) for index in range(images)]
    if max_side is not None:
        jpegs = [copies.limit(data, max_side) for data in jpegs]

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
            for index, data in enumerate(jpegs):
                yield index, {"image": data, "label": 0}

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
    """The same as the reader, in worker processes."""
    # Grain reads its own flags before it starts a process, and this process has parsed none.
    flags.FLAGS.mark_as_parsed()

    def load(index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        record = _opened(folder)[index]
        image = decode.random_crop_resize(record["image"], size, rng)
        return {"image": image, "label": np.int32(record["label"])}

    order = grain.MapDataset.range(EPOCH).seed(0).shuffle().repeat()
    batches = order.random_map(load).batch(BATCH_SIZE)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    read = batches.to_iter_dataset(options)
    return iter(read.mp_prefetch(grain.MultiprocessingOptions(workers)))


def read_alone(folder: str, size: int) -> Iterator[np.ndarray]:
    """The reader's decoder, without anything around it."""
    rng = np.random.default_rng(0)
    return (decode.random_crop_resize(data, size, rng) for data in _in_memory(folder))


def read_whole(folder: str, size: int) -> Iterator[np.ndarray]:
    """All pixels of every image, at whatever size it has."""
    return (decode.decode(data) for data in _in_memory(folder))


def read_with_tf(folder: str, size: int) -> Iterator[Any]:
    """The usual recipe for ImageNet with tf.data, with crops of the same ranges."""
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
        crop = tf.image.decode_and_crop_jpeg(example["image"], window, channels=3)
        resized = tf.image.resize(crop, [size, size])
        return tf.cast(resized, tf.uint8), example["label"]

    files = [str(path) for path in Path(folder, "tfrecord").rglob("*.tfrecord*")]
    records = tf.data.TFRecordDataset(files).repeat().shuffle(16 * BATCH_SIZE)
    batches = records.map(load, tf.data.AUTOTUNE).batch(BATCH_SIZE)
    return batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _open(folder: str) -> Source:
    return open_source(DATA_SET, "train", str(Path(folder, "array_record")))


@functools.cache
def _opened(folder: str) -> Source:
    """The same images over and over, as many as ImageNet has.

    To shuffle only a few images takes longer for each of them.
    """
    source = _open(folder)
    return Source(source.class_names, EPOCH, lambda index: source.read(index % source.size))


def _in_memory(folder: str) -> Iterator[bytes]:
    source = _open(folder)
    images = [source[index]["image"] for index in range(len(source))]
    return itertools.cycle(images)


def ways(threads: Sequence[int]) -> dict[str, Way]:
    """All ways to read, by their names, with the reader in each of these numbers of threads."""
    chosen = {
        ALONE: Way(read_alone, 1),
        WHOLE: Way(read_whole, 1),
        TF_DATA: Way(read_with_tf, BATCH_SIZE),
    }
    for number in threads:
        read = functools.partial(read_in_threads, number)
        chosen[_reader(number, "thread")] = Way(read, BATCH_SIZE)
    for number in WORKERS:
        read = functools.partial(read_in_workers, number)
        chosen[_reader(number, "worker")] = Way(read, BATCH_SIZE)
    return chosen


def _reader(number: int, kind: str) -> str:
    plural = "s" if number > 1 else ""
    return f"reader, {number} {kind}{plural}"


def measure(way: Way, folder: str, size: int, seconds: float) -> Measured:
    """Reads for `WARM_UP` seconds, then measures for `seconds`."""
    batches = way.open(folder, size)
    bytes_before = held_bytes()
    _count(batches, WARM_UP)

    began, cpu_before = time.perf_counter(), cpu_seconds()
    images = _count(batches, seconds) * way.batch_size
    elapsed = time.perf_counter() - began
    cpu = cpu_seconds() - cpu_before
    held = held_bytes() - bytes_before
    return Measured(
        images_per_second=images / elapsed,
        images_per_core_second=images / cpu,
        cpu_milliseconds=1000 * cpu / images,
        held_mebibytes=held / 2**20,
    )


def _count(batches: Iterator[Any], seconds: float) -> int:
    """Reads for so many seconds, and at least one batch; returns the number of batches."""
    end = time.perf_counter() + seconds
    count = 0
    while not count or time.perf_counter() < end:
        next(batches)
        count += 1
    return count


def cpu_seconds() -> float:
    """Seconds of CPU time that this process and its children have taken so far."""
    times = [process.cpu_times() for process in _family()]
    return sum(each.user + each.system for each in times)


def held_bytes() -> int:
    """Resident memory of this process and its children."""
    return sum(process.memory_info().rss for process in _family())


def _family() -> list[psutil.Process]:
    process = psutil.Process()
    return [process, *process.children(recursive=True)]


def in_new_process(function: Callable, *args: Any) -> Any:
    """What a function returns in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_silence) as pool:
        return pool.submit(function, *args).result()


def _silence() -> None:
    # TensorFlow writes there what it was compiled for. Exceptions come back all the same.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())


def measure_in_turns(
    chosen: Mapping[str, Way], images: int, size: int, seconds: float, max_side: int | None = None
) -> dict[str, list[Measured]]:
    """Prepares the data, and measures every way once in each round."""
    results: dict[str, list[Measured]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(prepare, folder, images, max_side)
        for _ in range(ROUNDS):
            for name, way in chosen.items():
                measured = in_new_process(measure, way, folder, size, seconds)
                results[name].append(measured)
    return results


def medians(rounds: Sequence[Measured]) -> Measured:
    """Each number's median over the rounds."""
    return Measured(*map(statistics.median, zip(*rounds, strict=True)))


def describe(results: Mapping[str, Measured]) -> str:
    """A line for each way; its last columns compare a core with the ways in `TARGETS`."""
    head = f"{'':20}{'images/s':>10}{'a core':>9}{'CPU ms':>9}{'MiB':>7}"
    for name in TARGETS:
        head += f"{f'/ {name}':>17}"
    lines = [head]
    for name, each in results.items():
        line = (
            f"{name:20}{each.images_per_second:10.0f}{each.images_per_core_second:9.0f}"
            f"{each.cpu_milliseconds:9.2f}{each.held_mebibytes:7.0f}"
        )
        for other in TARGETS:
            ratio = each.images_per_core_second / results[other].images_per_core_second
            line += f"{ratio:17.2f}"
        lines.append(line)
    wanted = ", ".join(f"{least} of {name}" for name, least in TARGETS.items())
    lines.append(f"a core should read by the reader at least {wanted}")
    return "\n".join(lines)


def write(path: str, options: Mapping[str, Any], results: Mapping[str, Sequence[Measured]]) -> None:
    """Writes the options, and what was measured in every round, as JSON."""
    rounds = {}
    for name, measured in results.items():
        rounds[name] = [each._asdict() for each in measured]
    values = {"options": options, "cores": os.cpu_count(), "ways": rounds}
    Path(path).write_text(json.dumps(values, indent=2) + "\n")


def parse_threads(words: Sequence[str]) -> list[int]:
    """The numbers of threads; raises `UserError` for anything else."""
    for word in words:
        if not word.isdecimal() or int(word) < 1:
            raise UserError(f"--threads has {word!r}: give numbers from 1 upwards, such as 1,4")
    return [int(word) for word in words]


def check_json(path: str | None) -> None:
    """Raises `UserError` for a file that could not be written once all is measured."""
    if path and not Path(path).parent.is_dir():
        folder = str(Path(path).parent)
        raise UserError(f"--json {path!r} lies in no folder: create {folder!r} first")


def define_flags() -> None:
    """Defines the command line, only when this file is run: others have flags of the same names."""
    flags.DEFINE_integer("images", 500, "How many images there are to read.", 1)
    # CPU time is counted in hundredths of a second.
    flags.DEFINE_float("seconds", 10.0, "How long each way reads in each round.", 0.1)
    flags.DEFINE_integer("size", 224, "Side of the crops in px.", 1)
    flags.DEFINE_integer("max_side", None, "Largest shorter side of the stored images.", 1)
    flags.DEFINE_list("threads", ["1", "2", "4", "8"], "Numbers of threads of the reader.")
    flags.DEFINE_string("json", None, "File to write the results to.")


def main() -> None:
    """Measures as the command line says, and prints the results."""
    options = flags.FLAGS
    threads = parse_threads(options.threads)
    check_json(options.json)
    results = measure_in_turns(
        ways(threads), options.images, options.size, options.seconds, options.max_side
    )
    print(f"{options.images} images, {options.size} px, {os.cpu_count()} cores")
    print(describe({name: medians(rounds) for name, rounds in results.items()}))
    if options.json:
        kept = {"threads": threads}
        for name in ("images", "seconds", "size", "max_side"):
            kept[name] = options[name].value
        write(options.json, kept, results)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
