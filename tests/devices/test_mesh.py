import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from lens_jax.devices.mesh import make_mesh, put_batch, row_sharding, state_sharding
from tests.fake_devices import fake_devices

TRAJECTORY = """
import json, jax, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from ml_collections import ConfigDict
from lens_jax.recipes import base_config
from lens_jax.devices import mesh
from lens_jax.tasks.base import DataFacts
from lens_jax.train import optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import init_state
from lens_jax.train.step import make_step
from lens_jax.train.system import make_system

config = base_config("digits")
config.task = ConfigDict({"name": "rotation", "all_rotations": True})
config.update_from_flattened_dict({"model.width": 4, "lens.widths": (8, 8), "data.batch_size": 8})
config.lens.raw_fraction = 0.5  # the hard case: the raw inputs are those of the last devices
both = optimizers.extractor_optimizer(config, Clock(8, 8, 100)), optimizers.lens_optimizer(config)
system = make_system(config, DataFacts(num_classes=10, size=100), total_steps=100)
init = lambda: init_state(config, system, *both)

def trajectory(fsdp):
    devices = mesh.make_mesh(fsdp)
    sharding = mesh.state_sharding(devices, jax.eval_shape(init))
    shardings = (sharding, mesh.replicated(devices))
    step = jax.jit(make_step(config, system, *both), out_shardings=shardings)
    state = jax.jit(init, out_shardings=sharding)()
    for seed in range(4):
        images = np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3), np.uint8)
        labels, indices = np.zeros(8, np.int32), np.arange(8, dtype=np.int32)
        batch = {"image": images, "label": labels, "index": indices}
        state, metrics = step(state, mesh.put_batch(devices, batch))
        yield [float(metrics[key]) for key in ("loss", "lens_adversarial", "lens_reconstruction")]
    large = [x for x in jax.tree.leaves(state) if x.size >= mesh.LEAST_SHARDED]
    fractions = [x.addressable_shards[0].data.size / x.size for x in large]
    yield [min(fractions), max(fractions)]

sizes = [fsdp for fsdp in (1, 4) if fsdp <= jax.device_count()]
runs = {fsdp: list(trajectory(fsdp)) for fsdp in sizes}
print(json.dumps({"devices": jax.device_count(), "runs": runs}))
"""


def trajectories(devices: int) -> dict[str, np.ndarray]:
    """By the size of the axis "fsdp": the losses of each step, then fractions on one device."""
    flags = fake_devices(devices)
    output = subprocess.run(
        [sys.executable, "-c", TRAJECTORY],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(output.stdout.splitlines()[-1])
    assert found["devices"] == devices
    return found["runs"]


def test_the_compiler_chooses_how_intermediate_results_are_sharded():
    assert make_mesh().axis_types == (AxisType.Auto, AxisType.Auto)
    assert make_mesh().size == jax.device_count()


def test_a_batch_is_the_same_on_the_devices():
    batch = {"image": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), "label": np.array([1, 2])}
    placed = put_batch(make_mesh(), batch)
    np.testing.assert_array_equal(placed["image"], batch["image"])
    np.testing.assert_array_equal(placed["label"], batch["label"])


def test_four_devices_train_as_one_however_the_state_is_sharded():
    one, four = trajectories(1), trajectories(4)
    assert (list(one), list(four)) == (["1"], ["1", "4"])
    for fsdp, (*losses, fractions) in four.items():
        np.testing.assert_allclose(losses, one["1"][:-1], rtol=1e-4)
        assert fractions == [1 / int(fsdp)] * 2


def test_a_large_array_is_sharded_along_its_longest_axis_that_the_devices_divide():
    shape = jax.ShapeDtypeStruct
    mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    state = {
        "kernel": shape((3, 3, 64, 128), jnp.float32),
        "uneven": shape((64, 129), jnp.float32),
        "odd": shape((33, 129), jnp.float32),
        "small": shape((512,), jnp.float32),
        "number": shape((), jnp.int32),
    }
    specs = {name: sharding.spec for name, sharding in state_sharding(mesh, state).items()}
    assert specs == {
        "kernel": PartitionSpec(None, None, None, "fsdp"),
        "uneven": PartitionSpec("fsdp"),
        "odd": PartitionSpec(),
        "small": PartitionSpec(),
        "number": PartitionSpec(),
    }


def test_rows_are_divided_over_all_devices_where_these_divide_them():
    shape = jax.ShapeDtypeStruct
    mesh = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    tree = {
        "bank": shape((1024, 16), jnp.float32),
        "uneven": shape((1025, 16), jnp.float32),
        "small": shape((64, 4), jnp.float32),
        "number": shape((), jnp.float32),
    }
    specs = {name: sharding.spec for name, sharding in row_sharding(mesh, tree).items()}
    assert specs == {
        "bank": PartitionSpec(("data", "fsdp")),
        "uneven": PartitionSpec(),
        "small": PartitionSpec(),
        "number": PartitionSpec(),
    }
