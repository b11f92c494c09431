import json
import os
import subprocess
import sys

import jax
import numpy as np
from jax.sharding import AxisType

from lens_jax.train.mesh import make_mesh, put_batch

TRAJECTORY = """
import json, jax, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from ml_collections import ConfigDict
from lens_jax.config import base_config
from lens_jax.train import mesh, optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import init_state
from lens_jax.train.step import make_step
from lens_jax.train.system import make_system

config = base_config("digits")
config.task = ConfigDict({"name": "rotation", "all_rotations": True})
config.update_from_flattened_dict({"model.width": 4, "lens.widths": (8, 8), "data.batch_size": 8})
config.lens.raw_share = 0.5  # the hard case: the raw inputs are those of the last devices
both = optimizers.extractor_optimizer(config, Clock(8, 8, 100)), optimizers.lens_optimizer(config)
system, devices = make_system(config, 10), mesh.make_mesh()
step = jax.jit(make_step(config, system, *both), out_shardings=mesh.replicated(devices))
state = jax.jit(lambda: init_state(config, system, *both), out_shardings=mesh.replicated(devices))()
losses = []
for seed in range(4):
    images = np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3), np.uint8)
    batch = {"image": images, "label": np.zeros(8, np.int32)}
    state, metrics = step(state, mesh.put_batch(devices, batch))
    losses.append([float(metrics[key]) for key in ("loss", "lens_adversarial", "lens_reconstruction")])
print(json.dumps({"devices": jax.device_count(), "losses": losses}))
"""


def trajectory(devices: int) -> dict:
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    output = subprocess.run(
        [sys.executable, "-c", TRAJECTORY], env=os.environ | flags, capture_output=True, text=True, check=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def test_the_axis_is_placed_by_the_compiler():
    assert make_mesh().axis_types == (AxisType.Auto,)
    assert make_mesh().size == jax.device_count()


def test_a_batch_arrives_as_it_was():
    batch = {"image": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), "label": np.array([1, 2])}
    placed = put_batch(make_mesh(), batch)
    np.testing.assert_array_equal(placed["image"], batch["image"])
    np.testing.assert_array_equal(placed["label"], batch["label"])


def test_four_devices_train_as_one():
    one, four = trajectory(1), trajectory(4)
    assert (one["devices"], four["devices"]) == (1, 4)
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-4)
