"""Tasks on one device and on all: prints as JSON, for each task, how far the results are apart.

A program of its own, for test_sharded.py: JAX fixes the number of devices when it starts.
"""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.devices import distributed, mesh
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.barlow_twins import BarlowTwins
from lens_jax.tasks.base import Outputs, Task
from lens_jax.tasks.byol import BYOL
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.memory_bank import Bank
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.pirl import PIRL, Draws
from lens_jax.tasks.simclr import SimCLR
from tests.tasks.samples import take_views

BATCH = 16
EMBEDDING = 16
TASKS = {
    "exemplar": Exemplar(copies=4, embedding=EMBEDDING),
    "simclr": SimCLR(embedding=EMBEDDING),
    "moco": MoCo(embedding=EMBEDDING, queue=64),  # as large as arrays that are sharded
    "moco, symmetric": MoCo(embedding=EMBEDDING, queue=64, symmetric=True),
    "byol": BYOL(embedding=EMBEDDING),
    "barlow_twins": BarlowTwins(embedding=EMBEDDING, scale=1.0),
    "pirl": PIRL(100, cell=2, patch=2, embedding=EMBEDDING, negatives=50),
    "pirl, info_nce": PIRL(
        100, cell=2, patch=2, embedding=EMBEDDING, negatives=50, form="info_nce"
    ),
}


def flip(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Mirrors images at random, those of each view anew."""
    key = jax.random.fold_in(jax.random.key(1), view)
    flips = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    flipped = jnp.where(flips, images[:, :, ::-1], images)
    return Augmented(flipped, parameters=flips[:, 0, 0])


def results(task: Task, weights: dict[str, Any], memory: Any, batch: dict[str, Any]) -> Any:
    """Loss, metrics, memory, views and gradient, with a matrix in place of each network."""

    def value(online: jax.Array) -> tuple[jax.Array, Any]:
        views = task.views(jax.random.key(0), batch, flip)
        rows = views.inputs.reshape(len(views.inputs), -1)
        count = len(rows) // BATCH

        target = task.target(total_steps=10)
        outputs = Outputs(take_views(rows, task.online_views, count) @ online)
        if target is not None:
            projections = take_views(rows, target.views, count) @ weights["target"]
            outputs = outputs._replace(target=projections)

        loss = task.loss(outputs, views.labels, memory)
        return loss.value, (loss, views)

    gradient, (loss, views) = jax.grad(value, has_aux=True)(weights["online"])
    return loss, views, gradient


def compare(task: Task) -> dict[str, Any]:
    """Compares a task's results on one device with those on all."""
    rng = np.random.default_rng(0)
    index = rng.permutation(100)[:BATCH]
    index[-1] = index[0]  # an image that occurs on two devices
    batch = {"image": rng.uniform(-1, 1, (BATCH, 8, 8, 3)), "index": index}
    weights = {
        "online": rng.normal(size=(192, EMBEDDING)),
        "target": rng.normal(size=(192, EMBEDDING)),
    }
    memory = task.memory(jax.random.key(2))
    step = jax.jit(lambda weights, memory, batch: results(task, weights, memory, batch))
    expected = step(weights, memory, batch)

    # The batch is divided over all devices, the state over pairs of them.
    devices = mesh.make_mesh(fsdp=2)
    shard_memory = mesh.row_sharding if task.shards_memory else mesh.state_sharding
    weights = jax.device_put(weights, mesh.state_sharding(devices, weights))
    memory = jax.device_put(memory, shard_memory(devices, memory))
    found = step(weights, memory, mesh.put_batch(devices, own_rows(batch)))
    gather = jax.jit(lambda tree: tree, out_shardings=mesh.replicated(devices))

    differences = []
    for one, other in zip(*map(jax.tree.leaves, (expected, gather(found))), strict=True):
        difference = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
        differences.append(float(np.max(difference)))
    inputs = found[1].inputs
    return {
        "devices": len(inputs.sharding.device_set),
        "inputs_per_device": inputs.sharding.shard_shape(inputs.shape)[0],
        "loss": float(expected[0].value),
        "dtype": str(found[0].value.dtype),
        "difference": max(differences),
    }


def own_rows(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of a batch that this process puts on its devices."""
    count = BATCH // jax.process_count()
    start = jax.process_index() * count
    return {name: rows[start : start + count] for name, rows in batch.items()}


def bank_bytes() -> dict[str, int]:
    """What a large bank takes in all, and what a loss against it takes on each device."""
    devices = mesh.make_mesh(fsdp=2)
    task = PIRL(100_000, embedding=EMBEDDING, negatives=50)
    shapes = jax.eval_shape(task.memory, jax.random.key(0))
    sharding = mesh.row_sharding(devices, shapes)
    bank = mesh.with_sharding(shapes, sharding)
    labels = Draws(np.arange(BATCH), np.zeros(BATCH, np.uint32))
    views = np.ones((BATCH, 2 * EMBEDDING))
    batch = mesh.put_batch(devices, own_rows(labels._asdict() | {"views": views}))
    views = batch.pop("views")

    def loss(views: jax.Array, labels: Draws, bank: Bank) -> tuple[jax.Array, Bank]:
        rows = views.reshape(2 * BATCH, EMBEDDING)
        found = task.loss(Outputs(rows), labels, bank)
        return found.value, found.memory

    gradient = jax.jit(
        jax.grad(loss, has_aux=True), donate_argnums=2, out_shardings=(None, sharding)
    )
    memory = gradient.lower(views, Draws(**batch), bank).compile().memory_analysis()
    return {
        "bank": shapes.rows.size * shapes.rows.dtype.itemsize,
        "state": memory.argument_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
    }


def main() -> None:
    """Prints the comparison of every task, and the bytes of a large bank."""
    jax.config.update("jax_disable_most_optimizations", True)
    distributed.start()
    comparisons = {name: compare(task) for name, task in TASKS.items()}
    print(json.dumps(comparisons | {"bytes": bank_bytes()}))


if __name__ == "__main__":
    main()
