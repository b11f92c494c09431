import functools
import itertools
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import simplejpeg

from benchmarks import input as benchmark
from lens_jax.errors import UserError

IMAGES = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("photographs"))
    benchmark.prepare(path, IMAGES)
    return path


def test_photographs_have_the_size_of_those_of_imagenet():
    jpegs = [benchmark.make_jpeg(index) for index in range(8)]
    sides = np.array([simplejpeg.decode_jpeg_header(data)[:2] for data in jpegs])
    assert sides.max(axis=1).tolist() == 8 * [500]
    assert (sides[:, 0] > sides[:, 1]).tolist() == 2 * [True, False, False, False]
    assert 80_000 < np.mean([len(data) for data in jpegs]) < 120_000
    assert len({*jpegs}) == 8


def test_photographs_are_as_strong_at_large_scales_as_at_small_ones():
    fine = benchmark.photograph(np.random.default_rng(0), 512, 512).mean(-1)
    lost = []
    for side in (128, 32, 8):
        coarse = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
        restored = cv2.resize(coarse, fine.shape, interpolation=cv2.INTER_LINEAR)
        lost.append(np.std(fine - restored))
        fine = coarse
    assert max(lost) < 2 * min(lost)


def test_both_formats_hold_the_photographs(folder):
    import tensorflow as tf

    jpegs = sorted(benchmark.make_jpeg(index) for index in range(IMAGES))
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(f"{folder}/tfrecord/*/*/*.tfrecord*"))
    images = []
    for data in records.as_numpy_iterator():
        features = tf.train.Example.FromString(data).features.feature
        images.append(features["image"].bytes_list.value[0])
    assert sorted(images) == jpegs
    twice = itertools.islice(benchmark._in_memory(folder), 2 * IMAGES)
    assert sorted(set(twice)) == jpegs


@pytest.mark.parametrize("name", ["tf.data", "decoder alone", "reader, 2 threads"])
def test_every_way_crops_the_photographs(folder, name):
    way = benchmark.ways([2])[name]
    batches = way.open(folder, 32)
    images = np.concatenate([_images(next(batches)) for _ in range(3)])
    assert images.shape == (3 * way.batch_size, 32, 32, 3)
    assert images.dtype == np.uint8
    # Now and then no crop fits, and the same central one is taken.
    assert len({image.tobytes() for image in images}) > 0.95 * len(images) - 1
    assert 90 < images.mean() < 165


def _images(batch) -> np.ndarray:
    """The images of a batch, in whichever form a way yields them."""
    if isinstance(batch, np.ndarray):
        return batch[None]
    return batch["image"] if isinstance(batch, dict) else batch[0]


def test_whole_images_are_decoded_in_full(folder):
    images = benchmark.read_whole(folder, 32)
    assert {max(next(images).shape) for _ in range(IMAGES)} == {500}


def hold(folder: str, size: int):
    """Yields batches of 10. For each, 50 MB are newly written; those of the last are held."""
    while True:
        held = np.ones(50_000_000, np.uint8)
        yield held


def test_what_is_measured_fits_together():
    found = benchmark.in_new_process(benchmark.measure, benchmark.Way(hold, 10), "", 32, 0.3)
    assert found.images_per_core_second * found.cpu_milliseconds == pytest.approx(1_000)
    assert found.images_per_second > 0
    assert 45 < found.held_mebibytes < 105


@pytest.mark.slow  # three processes, which a loaded machine has been seen to keep from ending
def test_worker_processes_count(folder):
    way = benchmark.Way(functools.partial(benchmark.read_in_workers, 1), 64)
    found = benchmark.in_new_process(benchmark.measure, way, folder, 32, 0.1)
    assert found.cpu_milliseconds > 0
    assert found.held_mebibytes > 100  # what the worker has imported is a part of it


def test_medians_are_those_of_each_number():
    rounds = [benchmark.Measured(*each) for each in ((1, 9, 2, 5), (2, 8, 9, 5), (9, 1, 1, 6))]
    assert benchmark.medians(rounds) == benchmark.Measured(2, 8, 2, 5)


def test_the_description_compares_by_core():
    results = {
        "decoder alone": benchmark.Measured(900, 1_000, 1.0, 1),
        "tf.data": benchmark.Measured(1_500, 800, 1.25, 120),
        "reader, 1 thread": benchmark.Measured(920, 920, 1.09, 26),
    }
    lines = benchmark.describe(results).splitlines()
    assert lines[0].split(maxsplit=5)[:5] == ["images/s", "a", "core", "CPU", "ms"]
    numbers = lines[3].removeprefix("reader, 1 thread").split()
    assert numbers == ["920", "920", "1.09", "26", "0.92", "1.15"]
    targets = "a core should read by the reader at least 0.9 of decoder alone, 1.2 of tf.data"
    assert lines[-1] == targets


def run(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.input", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--images=0", "flag --images=0: 0 is not a positive integer"),
        ("--seconds=-1", "flag --seconds=-1: -1.0 is not number >= 0.1"),
        ("--threads=1,0", "--threads has '0': give numbers from 1 upwards, such as 1,4"),
    ],
)
def test_mistakes_end_the_command_in_one_line(flag, message):
    done = run(flag)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_threads_are_numbers():
    assert benchmark.parse_threads(["1", "16"]) == [1, 16]
    for wrong in ("", "one", "-1", "1.5"):
        with pytest.raises(UserError, match=f"--threads has '{wrong}': give numbers from 1"):
            benchmark.parse_threads(["1", wrong])


def test_a_file_in_no_folder_is_refused(tmp_path):
    benchmark.check_json(None)
    benchmark.check_json(str(tmp_path / "a.json"))
    message = "--json 'nowhere/a.json' lies in no folder: create 'nowhere' first"
    with pytest.raises(UserError, match=message):
        benchmark.check_json("nowhere/a.json")


def test_every_round_is_written(tmp_path):
    rounds = [benchmark.Measured(900, 1_000, 1.0, 1), benchmark.Measured(800, 900, 1.1, 1)]
    path = tmp_path / "input.json"
    benchmark.write(str(path), {"images": 7}, {"tf.data": rounds})
    written = json.loads(path.read_text())
    assert written["options"] == {"images": 7}
    assert written["ways"]["tf.data"] == [each._asdict() for each in rounds]
