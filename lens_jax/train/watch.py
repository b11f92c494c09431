"""Watches a training between its steps: the features of the same images at each checkpoint."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax.data.batches import Batches, Skipped, eval_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.records import Source
from lens_jax.data.source import open_split
from lens_jax.devices import mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.errors import UserError
from lens_jax.tasks.base import Batch
from lens_jax.train.collapse import Alarm
from lens_jax.train.monitors import Labeled, classify, compute_features, describe_features
from lens_jax.train.probe import Probe
from lens_jax.train.setup import Setup, facts_of
from lens_jax.train.state import TrainState
from lens_jax.train.system import System, make_system
from lens_jax.train.validation import Validation
from lens_jax.workdir.metrics import Scalars

BATCH_SIZE = 256
# One image is watched for so many that are trained on, each with its views and a backward pass.
TRAINED_FOR_ONE = 40
LEAST_IMAGES, MOST_IMAGES = 768, 24576
# One of so many watched images is a test image, where there are labels.
PARTS = 3


class Images(NamedTuple):
    """Images that are watched, and those of them that did not decode."""

    source: Source
    skipped: Skipped


class Programs(NamedTuple):
    """What is compiled: a batch to its features, and all features to numbers."""

    features: jax.stages.Compiled
    numbers: jax.stages.Compiled


class Watch:
    """Measures the features of some images at checkpoints, and sounds the alarm at a collapse.

    The images are a bounded number of the data's, and stay the same.

    All processes call its methods together: each reads its rows of every batch, and all compute the
    numbers from all features.
    """

    def __init__(self, config: ConfigDict, setup: Setup, devices: Mesh):
        """Chooses the images; the first process prints what cannot be watched, and why."""
        system = make_system(config, facts_of(setup.source), setup.clock.total_steps)
        self._config = config
        self._system = system
        self._devices = devices
        self._programs: Programs | None = None
        self._alarm = Alarm(config.train.on_collapse, setup.clock.total_steps)

        count = count_images(setup.save_every * config.data.batch_size)
        tested = count // PARTS
        train = setup.source.subsample(count - tested)
        self._train = Images(train, Skipped(train))
        self._test: Images | None = None
        test = open_test(config, system) if system.monitored else None
        if test is not None:
            test = test.subsample(tested)
            self._test = Images(test, Skipped(test))
        self._validation: Validation | None = None
        if self._test is not None and system.task.validates:
            open_test_batches = partial(self._open, self._test)
            self._validation = Validation(system, config.seed, devices, open_test_batches)

    def compile(self, state: TrainState) -> None:
        """Compiles what is computed, so that nothing has to be while training goes on."""
        if not self._system.monitored:
            return
        replicated = mesh.replicated(self._devices)

        # A batch to its features, of which every process gets all.
        compute = partial(compute_batch, self._system)
        options = compiler_options()
        jitted = jax.jit(compute, out_shardings=replicated, compiler_options=options)
        batch = next(self._open(self._train))
        traced = jitted.trace(state, mesh.put_batch(self._devices, batch))
        features = traced.lower().compile()

        # All features to numbers, which each device computes for itself.
        width = traced.out_info["features"].shape[-1]
        summarize = partial(summarize_features, self._system.probe)
        jitted = jax.jit(summarize, out_shardings=replicated)
        train = self._shapes(self._train, width)
        test = self._shapes(self._labeled, width)
        numbers = jitted.lower(state.probe, train, test).compile()
        self._programs = Programs(features, numbers)
        if self._validation is not None:
            self._validation.compile(state)

    def measure(self, state: TrainState) -> Scalars:
        """The numbers of the features in this state, the task's own, and the seconds they took.

        None where nothing is watched. `compile` must come before.
        """
        if self._programs is None:
            return {}
        began = time.monotonic()
        train = self._extract(state, self._train)
        test = self._extract(state, self._labeled)
        numbers = self._programs.numbers(state.probe, train, test)
        scalars = {name: float(value) for name, value in jax.device_get(numbers).items()}
        if self._validation is not None:
            scalars |= self._validation.measure(state)
        scalars["monitor_seconds"] = time.monotonic() - began
        return scalars

    def check(self, step: int, scalars: Scalars) -> None:
        """Prints a line, once, where the metrics up to `step` say that embeddings have collapsed.

        Raises `CollapsedError` instead where `train.on_collapse` is "stop".
        """
        line = self._alarm.check(step, scalars)
        if line is not None:
            _print_once(line)

    @property
    def _labeled(self) -> Images | None:
        """The test images, where they can be classified."""
        return None if self._system.probe is None else self._test

    def _shapes(self, images: Images | None, width: int) -> Labeled | None:
        """The shapes of what `_extract` gives."""
        if images is None:
            return None
        count = len(images.source)
        features = jax.ShapeDtypeStruct((count, width), np.float32)
        labels = jax.ShapeDtypeStruct((count,), np.int32)
        shapes = Labeled(features, labels)
        replicated = mesh.replicated(self._devices)
        return mesh.with_sharding(shapes, Labeled(replicated, replicated))

    def _extract(self, state: TrainState, images: Images | None) -> Labeled | None:
        """Features and labels of all images, on every device.

        One that does not decode is replaced by another one, so that shapes stay what they are.
        """
        if images is None:
            return None
        parts = []
        for found in self._run(state, images):
            kept = found["mask"]
            parts.append((found["features"][kept], found["label"][kept]))

        features, labels = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        count = len(images.source)
        features = np.resize(features, (count, features.shape[1]))
        rows = Labeled(features, np.resize(labels, count))
        replicated = mesh.replicated(self._devices)
        put = partial(jax.make_array_from_process_local_data, replicated)
        return jax.tree.map(put, rows)

    def _run(self, state: TrainState, images: Images) -> Iterator[dict[str, np.ndarray]]:
        """The results of all batches, fetched one late: the devices already compute the next."""
        pending = None
        for batch in self._open(images):
            found = self._programs.features(state, mesh.put_batch(self._devices, batch))
            if pending is not None:
                yield jax.device_get(pending)
            pending = found
        yield jax.device_get(pending)

    def _open(self, images: Images) -> Batches:
        """One pass over the images, as evaluation reads them."""
        data = self._config.data
        devices = self._devices.size
        # As many as the devices can share evenly, as a training batch is.
        largest = -(-BATCH_SIZE // devices) * devices
        return eval_batches(
            images.source,
            images.skipped,
            batch_size=min(largest, data.batch_size),
            image_size=data.image_size,
            crop=data.eval_crop,
            shard=jax.process_index(),
            shards=jax.process_count(),
            threads=data.threads,
            decoding=read_decoding(data),
        )


def count_images(trained: int) -> int:
    """How many images are watched at checkpoints that come every `trained` images."""
    return min(MOST_IMAGES, max(LEAST_IMAGES, trained // TRAINED_FOR_ONE))


def open_test(config: ConfigDict, system: System) -> Source | None:
    """The images to classify or, for a task that does so, to validate on; None: there are none.

    A line says why they cannot be classified.
    """
    if system.probe is None:
        _print_once(
            f"monitors: {config.data.name!r} has no classes, so that there is no online probe and "
            "no neighbors; embeddings and features are watched all the same"
        )
        if not system.task.validates:
            return None
    try:
        return open_split(config.data, config.data.eval_split)
    except UserError as error:
        _print_once(f"monitors: no test images for online probe and neighbors: {error}")
        return None


def compute_batch(system: System, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
    """The features of a batch of images, with the labels and the mask that came with them."""
    features = compute_features(system, state, batch["image"])
    return {"features": features, "label": batch["label"], "mask": batch["mask"]}


def summarize_features(
    probe: Probe | None, probe_state: Any, train: Labeled, test: Labeled | None
) -> dict[str, jax.Array]:
    """The numbers of the features of training images, and how test images are classified."""
    numbers = describe_features(train.features)
    if test is not None:
        numbers |= classify(probe, probe_state["params"], train, test)
    return numbers


def _print_once(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)
