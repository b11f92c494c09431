"""Trains every method with a second network on one device and on all, and prints how far apart.

Started by test_methods_on_devices.py with eight fake devices. The networks compute in float64;
images and augmentations are float32, as in training, and decide how close the two can be.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from lens_jax.devices import mesh
from lens_jax.recipes import base_config, two_views
from lens_jax.tasks.base import DataFacts
from lens_jax.tasks.non_semantic import reads_textures
from lens_jax.train import compiling
from lens_jax.train.state import init_state
from lens_jax.train.step import make_step
from lens_jax.train.system import make_system

STEPS = 2
HEAD = {"size": 0, "hidden": 8, "embedding": 4}
METHODS = {
    "simclr": HEAD | {"temperature": 0.2},
    "moco": HEAD | {"temperature": 0.2, "queue": 16, "momentum": 0.9},
    "byol": HEAD | {"momentum": 0.9},
    "barlow_twins": HEAD,
    "pirl": HEAD | {"cell": 6, "patch": 4, "negatives": 16},
}
for base in ("byol", "moco"):
    METHODS[f"equimod, {base}"] = {
        "base": METHODS[base] | {"name": base},
        "hidden": 8,
        "embedding": 4,
        "parameters": 4,
    }


# BatchNorm's groups, for methods that are to have some: here, half of each kind's queries.
GROUPS = {"moco, groups": 2}
# Views of two images each.
PAIRS = ("simclr, pairs",)
NEGATIVES = {"moco, patch": "patch", "byol, quilting": "quilting", "moco, texture": "texture"}


def make_config(name: str) -> ConfigDict:
    """Tiny networks on 16 px, a lens, and an augmentation of which all parts are drawn."""
    config = base_config("digits")
    two_views(config)
    method = name.partition(",")[0]
    options = METHODS[name if name in METHODS else method]
    config.task = ConfigDict(options | {"name": method})
    if name in NEGATIVES:
        config.task.non_semantic = NEGATIVES[name]
    config.augment.update({"area": (0.3, 1.0), "flip": 0.5, "jitter": 0.8, "blur": 0.5})
    config.update_from_flattened_dict(
        {
            "dtype": "float64",
            "data.image_size": 16,
            "data.batch_size": 8,
            "model.width": 4,
            "model.batch_norm_group": GROUPS.get(name, 0),
            "lens.batch_norm": "split" if name in GROUPS else "joint",
            "lens.kind": "network",
            "lens.widths": (8,),
            "lens.raw_fraction": 0.5,  # the hard case: raw images are those of the last devices
        }
    )
    return config.lock()


def make_batch(seed: int, pairs: bool) -> dict[str, np.ndarray]:
    """Eight images of noise, each with another one where they are pairs."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(8, dtype=np.int32)
    batch = {"label": numbers, "index": numbers}
    for name in ("image", "partner")[: 1 + pairs]:
        batch[name] = rng.integers(0, 256, (8, 16, 16, 3), np.uint8)
    return batch


def train(config: ConfigDict, devices: Mesh, pairs: bool) -> list:
    """The state after each step, and its metrics, as NumPy arrays."""
    system = make_system(config, DataFacts(10, 100), total_steps=10)
    # Plain SGD: Adam would divide rounding errors by themselves.
    optimizers = optax.sgd(0.1), optax.sgd(0.01)

    def init() -> object:
        state = init_state(config, system, *optimizers)
        return jax.tree.map(to_double, state)

    sharding = compiling.state_sharding(system.task, devices, jax.eval_shape(init))
    replicated = mesh.replicated(devices)
    state = jax.jit(init, out_shardings=sharding)()
    step = jax.jit(make_step(config, system, *optimizers), out_shardings=(sharding, replicated))
    results = []
    for seed in range(STEPS):
        batch = make_batch(seed, pairs)
        if reads_textures(config.task):
            batch["texture"] = batch["image"][::-1].copy()
        batch = mesh.put_batch(devices, batch)
        state, metrics = step(state, batch)
        results.append(jax.tree.map(np.asarray, (state, metrics)))
    return results


def to_double(leaf: jax.Array) -> jax.Array:
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if is_float else leaf


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Relative to the largest number of the array."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    largest = max(1e-3, float(np.abs(one).max()))
    return float(np.abs(one - other).max()) / largest


def mesh_of(count: int, fsdp: int) -> Mesh:
    devices = np.array(jax.devices()[:count]).reshape(-1, fsdp)
    return Mesh(devices, ("data", "fsdp"), axis_types=(AxisType.Auto, AxisType.Auto))


def main() -> None:
    """Prints a JSON object: by method given, the largest distance, and what of the state moved."""
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_enable_x64", True)
    found = {"devices": jax.device_count()}
    for method in sys.argv[1:]:
        config = make_config(method)
        one = train(config, mesh_of(1, 1), method in PAIRS)
        all_devices = train(config, mesh_of(8, 2), method in PAIRS)
        distances = jax.tree.map(distance, one, all_devices)

        first, last = one[0][0], one[-1][0]
        moved = {}
        for part in ("params", "lens_params", "target_params", "target_stats", "memory"):
            changes = jax.tree.map(distance, getattr(first, part), getattr(last, part))
            moved[part] = max(jax.tree.leaves(changes), default=0.0)
        found[method] = {"apart": max(jax.tree.leaves(distances)), "moved": moved}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
