"""What training needs of a machine, each tried out in a few seconds.

Every check returns in one line what it found, and raises an exception where training would fail.
"""

import glob
import importlib.metadata
import math
import os
import platform
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict
from packaging.requirements import Requirement

from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.preparation import data_folder
from lens_jax.devices import cache, mesh
from lens_jax.errors import UserError
from lens_jax.recipes import base_config
from lens_jax.tasks.base import DataFacts
from lens_jax.train import compiling
from lens_jax.train.durations import Clock
from lens_jax.train.setup import facts_of, open_training

LEAST_MEMORY = 2e9  # bytes, as all of these
LEAST_DISK = 1e9
SHOWN_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain")
IMAGENET = DataFacts(num_classes=1000, size=1_281_167)

_ABSENT = "absent"
_DEVICE_FILES = {"gpu": ("/dev/nvidia[0-9]*",), "tpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")}


def versions() -> str:
    """The versions of Python and the main packages.

    Raises `UserError` for packages that are not of a version that this one requires.
    """
    problems = []
    requirements = importlib.metadata.requires("lens_jax") or ()
    for line in requirements:
        requirement = Requirement(line)
        if not _is_optional(requirement) and not _is_met(requirement):
            found = _version(requirement.name)
            problems.append(f"{requirement.name} is {found}, not {requirement.specifier}")
    if problems:
        raise UserError(
            f"{', '.join(problems)}: run `pip install --constraint constraints.txt --editable .`"
        )

    found = [f"python {platform.python_version()}"]
    for name in SHOWN_PACKAGES:
        found.append(f"{name} {_version(name)}")
    return ", ".join(found)


def _is_optional(requirement: Requirement) -> bool:
    """Whether a requirement is one of an extra, or of another platform."""
    marker = requirement.marker
    return marker is not None and not marker.evaluate({"extra": ""})


def _is_met(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version != _ABSENT and requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _ABSENT


def devices() -> str:
    """How many devices of which kind; raises `UserError` where JAX does not use an accelerator."""
    backend = jax.default_backend()
    # The system shows an accelerator that JAX was installed without support for.
    for kind, patterns in _DEVICE_FILES.items():
        is_present = any(glob.glob(pattern) for pattern in patterns)
        if is_present and backend == "cpu":
            raise UserError(
                f"there is a {kind} here, but JAX uses the cpu: run `pip install '.[{kind}]'`"
            )
    kinds = {device.device_kind for device in jax.devices()}
    return (
        f"{jax.device_count()} {backend} device(s) ({', '.join(sorted(kinds))}), "
        f"{jax.local_device_count()} of them here, in {jax.process_count()} process(es)"
    )


def all_reduce() -> str:
    """Adds up a one from each device; raises `ArithmeticError` where the sum is wrong."""
    devices = mesh.make_mesh()
    batch = {"ones": np.ones(jax.local_device_count(), np.float32)}
    ones = mesh.put_batch(devices, batch)["ones"]
    add = jax.jit(jnp.sum, out_shardings=mesh.replicated(devices))
    compiled = add.lower(ones).compile()

    # The first call warms up, the second is timed.
    compiled(ones).block_until_ready()
    began = time.monotonic()
    total = float(compiled(ones))
    seconds = time.monotonic() - began

    if total != devices.size:
        raise ArithmeticError(f"the ones of {devices.size} devices add up to {total}")
    axes = [f"{name}: {size}" for name, size in devices.shape.items()]
    named = ", ".join(axes)
    return f"axes {named}; an all-reduce of one number took {1e3 * seconds:.1f} ms"


def memory() -> str:
    """The memory of the host and of a device; raises `UserError` where the host has too little."""
    host = psutil.virtual_memory()
    free = _size(host.available)
    total = _size(host.total)
    # "Available" counts what the system's caches would give back.
    if host.available < LEAST_MEMORY:
        raise UserError(f"{free} of {total} are free: end what takes the rest")
    found = f"{free} of {total} of the host are free"
    limit = _device_memory("bytes_limit")
    if limit is not None:
        found += f", {_size(limit)} for JAX on each device"
    return found


def data(config: ConfigDict) -> str:
    """Decodes a batch of a config's data, of several processes each its part.

    Raises `UserError` where more images are skipped than the config allows.
    """
    source = open_training(config)
    skipped = Skipped(source)
    began = time.monotonic()
    batches = train_batches(
        source,
        skipped,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        crop=config.data.crop,
        seed=config.seed,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=1,
        decoding=read_decoding(config.data),
    )
    shape = next(batches)["image"].shape
    seconds = time.monotonic() - began
    skipped.check(config.data.max_skipped)
    return (
        f"{len(source)} images of {config.data.name}; a batch {shape} in {seconds:.2f} s; "
        f"{_free_space(data_folder(config.data.dir))}; {'; '.join(source.notes)}"
    )


def workdir(folder: str, config: ConfigDict) -> str:
    """Writes a file to a work directory, or to the next folder above that exists, and removes it.

    Raises `UserError` where there is no room for the checkpoints of the config.
    """
    needed = checkpoint_bytes(config)
    path = epath.Path(folder).absolute()
    candidates = (path, *path.parents)
    existing = next(each for each in candidates if each.exists())

    # A file of each process, as all of them write there at once.
    trial = existing / f".lens_jax_check_{jax.process_index()}"
    trial.write_text("trial")
    trial.unlink()

    if not _is_bucket(existing):
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise UserError(
                f"{_size(free)} are free in {existing}, {_size(needed)} are needed: give another "
                "--workdir"
            )
    return f"can write to {existing}; {_free_space(existing)}"


def compilation_cache(folder: str) -> str:
    """How many computations are in the cache of a work directory, which is used from now on."""
    path = epath.Path(cache.use_cache(folder))
    entries = list(path.glob("*-cache")) if path.exists() else []
    return f"{len(entries)} computation(s) in {path}"


def one_step(config: ConfigDict, with_data: bool) -> str:
    """Compiles the training step of a config and takes it twice, on black images.

    Only `with_data` it is exactly the step of the config, with the classes and the length of its
    data. Raises `UserError` for a loss that is not finite.
    """
    devices = mesh.make_mesh(config.mesh.fsdp)
    facts = IMAGENET
    if with_data:
        source = open_training(config)
        facts = facts_of(source)
    traced = _trace(config, facts, devices)
    step, compile_seconds = compiling.compile_step(traced.step)
    black = compiling.black_batch(config)
    batch = mesh.put_batch(devices, black)

    # The first step warms up, the second is timed.
    state = traced.init()
    state, _ = step(state, batch)
    jax.block_until_ready(state)
    began = time.monotonic()
    state, metrics = step(state, batch)
    loss = float(metrics["loss"])
    seconds = time.monotonic() - began

    images = config.data.batch_size
    if not math.isfinite(loss):
        raise UserError(f"the loss of {images} black images is {loss}")
    found = f"compiled in {compile_seconds:.1f} s; {images} images in {seconds:.3f} s"
    peak = _device_memory("peak_bytes_in_use")
    if peak is not None:
        found += f"; {_size(peak)} of a device used"
    return found


def checkpoint_bytes(config: ConfigDict) -> float:
    """The most bytes of checkpoints on disk: those that are kept, and the one being written."""
    # Of a training on ImageNet, as the config's data may not be readable here.
    traced = _trace(config, IMAGENET, mesh.make_mesh())
    state = jax.eval_shape(traced.init)
    once = 0
    for array in jax.tree.leaves(state):
        once += array.size * array.dtype.itemsize
    count = config.train.keep_checkpoints + 1
    return max(LEAST_DISK, once * count)


def tiny_config() -> ConfigDict:
    """A config of small networks, with an image for each device."""
    config = base_config("digits")
    config.task = ConfigDict({"name": "rotation", "all_rotations": True})
    config.data.batch_size = jax.device_count()
    config.model.width = 8
    config.lens.widths = (8, 8)
    return config.lock()


def _trace(config: ConfigDict, facts: DataFacts, devices: Mesh) -> compiling.Traced:
    """The training of a config, on data of this size."""
    clock = Clock(config.data.batch_size, facts.size)
    total_steps = clock.steps(config.train.duration)
    clock = clock._replace(total_steps=total_steps)
    return compiling.trace(config, facts, clock, devices)


def _device_memory(name: str) -> int | None:
    """A number of JAX's memory statistics of a device, in bytes; None where it has none."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    return stats.get(name)


def _free_space(path: epath.Path) -> str:
    if _is_bucket(path):
        return "a bucket, which has no limit of its own"
    free = shutil.disk_usage(path).free
    return f"{_size(free)} free"


def _is_bucket(path: epath.Path) -> bool:
    return "://" in os.fspath(path)


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB"
