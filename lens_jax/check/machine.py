"""What training needs of a machine, each tried out in a few seconds.

Every function tells in one line what it found, and raises an exception where training would fail.
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
from ml_collections import ConfigDict
from packaging.requirements import Requirement

from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.preparation import data_folder
from lens_jax.data.source import Source, open_source
from lens_jax.devices import cache, mesh
from lens_jax.errors import UserError
from lens_jax.recipes import base_config
from lens_jax.train import compiling
from lens_jax.train.durations import Clock

LEAST_MEMORY = 2e9
LEAST_DISK = 1e9
_ABSENT = "absent"
_DEVICE_FILES = {"gpu": ("/dev/nvidia[0-9]*",), "tpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")}


def versions() -> str:
    """Python and JAX, after all that this package requires; raises `UserError` for what does not fit."""
    wanted = [Requirement(line) for line in importlib.metadata.requires("lens_jax") or ()]
    wrong = [each for each in wanted if _applies(each) and not _fits(each)]
    if wrong:
        found = ", ".join(
            f"{each.name} is {_version(each.name)}, not {each.specifier}" for each in wrong
        )
        raise UserError(f"{found}: run `pip install --constraint constraints.txt --editable .`")
    names = ("jax", "flax", "optax", "orbax-checkpoint", "grain")
    return ", ".join(
        [f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]
    )


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _fits(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version != _ABSENT and requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _ABSENT


def devices() -> str:
    """How many devices of which kind; raises `UserError` where an accelerator here is not used."""
    backend = jax.default_backend()
    for kind, patterns in _DEVICE_FILES.items():
        if backend == "cpu" and any(glob.glob(pattern) for pattern in patterns):
            raise UserError(
                f"there is a {kind} here, but JAX uses the cpu: run `pip install '.[{kind}]'`"
            )
    kinds = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    return (
        f"{jax.device_count()} {backend} device(s) ({kinds}), {jax.local_device_count()} of them here, in "
        f"{jax.process_count()} process(es)"
    )


def all_reduce() -> str:
    """Adds one number of each device; raises `ArithmeticError` where the sum is wrong."""
    devices = mesh.make_mesh()
    ones = mesh.put_batch(devices, {"one": np.ones(jax.local_device_count(), np.float32)})["one"]
    add = jax.jit(jnp.sum, out_shardings=mesh.replicated(devices)).lower(ones).compile()
    add(ones).block_until_ready()
    began = time.monotonic()
    total = float(add(ones))
    if total != devices.size:
        raise ArithmeticError(f"the ones of {devices.size} devices add up to {total}")
    axes = ", ".join(f"{name}: {size}" for name, size in devices.shape.items())
    return (
        f"axes {axes}; an all-reduce of one number took {(time.monotonic() - began) * 1e3:.1f} ms"
    )


def memory() -> str:
    """Memory of the host and of one device; raises `UserError` where the host has nearly none left."""
    host = psutil.virtual_memory()
    free, whole = host.available, host.total
    if free < LEAST_MEMORY:
        raise UserError(f"{_size(free)} of {_size(whole)} are free: end what takes the rest")
    stats = jax.local_devices()[0].memory_stats() or {}
    device = (
        f", {_size(stats['bytes_limit'])} for JAX on each device" if "bytes_limit" in stats else ""
    )
    return f"{_size(free)} of {_size(whole)} of the host are free{device}"


def data(config: ConfigDict) -> str:
    """Decodes a batch, or the part of it that is this process's; raises `UserError` where much does not."""
    source = _open(config)
    skipped, began = Skipped(source), time.monotonic()
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
    )
    shape = next(batches)["image"].shape
    skipped.check(config.data.max_skipped)
    folder, seconds = data_folder(config.data.dir), time.monotonic() - began
    return f"{len(source)} images of {config.data.name}; a batch {shape} in {seconds:.2f} s; {_free(folder)}"


def workdir(folder: str, config: ConfigDict) -> str:
    """Writes to the folder and takes it back; raises `UserError` where a few checkpoints find no place."""
    needed = checkpoint_bytes(config)
    path = epath.Path(folder).absolute()
    place = next(each for each in (path, *path.parents) if each.exists())
    trial = place / f".lens_jax_check_{jax.process_index()}"
    trial.write_text("trial")
    trial.unlink()
    if not _is_bucket(place) and (free := shutil.disk_usage(place).free) < needed:
        raise UserError(
            f"{_size(free)} are free in {place}, {_size(needed)} are needed: give another --workdir"
        )
    return f"can write to {place}; {_free(place)}"


def compilation_cache(folder: str) -> str:
    """Uses the cache of a work directory, and tells how many computations are in it."""
    path = epath.Path(cache.use_cache(folder))
    entries = len(list(path.glob("*-cache"))) if path.exists() else 0
    return f"{entries} computation(s) in {path}"


def one_step(config: ConfigDict, with_data: bool) -> str:
    """Compiles and takes the training step on black images; raises `UserError` for a loss that is
    not finite.

    Only `with_data` it is exactly the step of the config, with the classes and the length of its
    data.
    """
    devices = mesh.make_mesh(config.mesh.fsdp)
    init, traced = compiling.trace(
        config, *_extent(config, _open(config) if with_data else None), devices
    )
    step, compiling_seconds = compiling.compile_step(traced)
    batch = mesh.put_batch(devices, compiling.black_batch(config))
    state, _ = step(init(), batch)
    jax.block_until_ready(state)
    began = time.monotonic()
    state, metrics = step(state, batch)
    loss, seconds = float(metrics["loss"]), time.monotonic() - began
    if not math.isfinite(loss):
        raise UserError(f"the loss of {config.data.batch_size} black images is {loss}")
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = (
        f"; {_size(stats['peak_bytes_in_use'])} of a device used"
        if "peak_bytes_in_use" in stats
        else ""
    )
    return f"compiled in {compiling_seconds:.1f} s; {config.data.batch_size} images in {seconds:.3f} s{peak}"


def checkpoint_bytes(config: ConfigDict) -> float:
    """The bytes of the checkpoints that are there at a time: those kept, and the one being written."""
    state = jax.eval_shape(compiling.trace(config, *_extent(config, None), mesh.make_mesh())[0])
    once = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return max(LEAST_DISK, once * (config.train.keep_checkpoints + 1))


def _open(config: ConfigDict) -> Source:
    return open_source(config.data.name, config.data.train_split, config.data.dir)


def _extent(config: ConfigDict, source: Source | None) -> tuple[int, Clock]:
    """Classes and durations, by ImageNet's numbers where there is no source."""
    images, classes = (len(source), source.num_classes) if source else (1_281_167, 1000)
    clock = Clock(config.data.batch_size, images)
    return classes, clock._replace(total_steps=clock.steps(config.train.duration))


def tiny_config() -> ConfigDict:
    """A config of small networks, with an image for each device."""
    config = base_config("digits")
    config.task = ConfigDict({"name": "rotation", "all_rotations": True})
    config.data.batch_size = jax.device_count()
    config.model.width, config.lens.widths = 8, (8, 8)
    return config.lock()


def _free(path: epath.Path) -> str:
    if _is_bucket(path):
        return "a bucket, which has no limit of its own"
    return f"{_size(shutil.disk_usage(path).free)} free"


def _is_bucket(path: epath.Path) -> bool:
    return "://" in os.fspath(path)


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB"
