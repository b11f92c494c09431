from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import psutil
import pytest
from jax.sharding import SingleDeviceSharding

from lens_jax.devices import memory, mesh
from lens_jax.devices.memory import check_fits, check_step_fits
from lens_jax.errors import UserError
from lens_jax.train.setup import make_setup


def on_one(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of an array of float32 on one device."""
    sharding = SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)


def with_limit(monkeypatch: pytest.MonkeyPatch, limit: int | None) -> None:
    """Lets every device say that it has so many bytes; None: it has nothing to say."""
    statistics = None if limit is None else {"bytes_limit": limit}
    device = SimpleNamespace(memory_stats=lambda: statistics)
    monkeypatch.setattr(jax, "local_devices", lambda: [device, device])


def test_what_is_remembered_is_compared_with_a_devices_own_limit(monkeypatch):
    remembered = {"lensed": on_one(100, 10), "raw": on_one(100, 10)}
    with_limit(monkeypatch, 8000)
    check_fits("what is remembered", remembered)
    with_limit(monkeypatch, 7999)
    with pytest.raises(UserError, match=r"takes 8,000 bytes.* has 7,999:") as caught:
        check_fits("what is remembered", remembered)
    assert "\n" not in str(caught.value)


def test_without_a_limit_the_devices_share_what_the_host_has_left(monkeypatch):
    with_limit(monkeypatch, None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1001))
    assert memory.bytes_per_device() == 500


def test_a_sharded_bank_is_counted_by_the_rows_of_a_device():
    devices = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    shapes = jax.ShapeDtypeStruct((1024, 16), jnp.float32)
    sharding = mesh.row_sharding(devices, shapes)
    check_fits("what is remembered", mesh.with_sharding(shapes, sharding))
    assert sharding.shard_shape(shapes.shape) == (128, 16)


def test_a_step_that_computes_more_at_a_time_than_a_device_holds_is_refused():
    def sort_products(x: jax.Array) -> jax.Array:
        return jnp.sort(x[:, None] * x, axis=1)[:, ::2] @ x[::2]

    def compile_for(count: int) -> jax.stages.Compiled:
        return jax.jit(sort_products).lower(on_one(count)).compile()

    check_step_fits(compile_for(10))
    with pytest.raises(UserError, match=r"data\.batch_size") as caught:
        check_step_fits(compile_for(10**7))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "moco", "hidden": 8, "embedding": 4, "queue": 10**11},
        {"name": "pirl", "cell": 5, "patch": 4, "hidden": 8, "embedding": 10**10},
    ],
    ids=lambda task: task["name"],
)
def test_a_queue_or_a_bank_that_no_machine_holds_is_refused_before_it_is_made(
    tiny_config, colorful, monkeypatch, task: dict[str, Any]
):
    monkeypatch.setattr("lens_jax.train.setup.open_train", lambda *_: colorful(20))
    config = tiny_config({"lens.kind": "none"}, task)
    with pytest.raises(UserError, match=f"what task '{task['name']}' remembers.* bytes on each"):
        make_setup(config, mesh.make_mesh())


def test_networks_that_no_machine_holds_are_refused_before_they_are_made(
    tiny_config, colorful, monkeypatch
):
    monkeypatch.setattr("lens_jax.train.setup.open_train", lambda *_: colorful(20))
    task = {"name": "simclr", "hidden": 10**10, "embedding": 4}
    config = tiny_config({"lens.kind": "none"}, task)
    with pytest.raises(UserError, match=r"networks and optimizers takes .* bytes on each"):
        make_setup(config, mesh.make_mesh())
