import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from benchmarks import programs, timing, variants
from benchmarks.step import ceiling, measure, table
from configs import jigsaw, rotation
from lens_jax.devices import mesh
from lens_jax.train import compiling
from lens_jax.train.system import make_system
from tests.end_to_end.commands import run

TINY = {
    "task.all_rotations": True,
    "data.batch_size": 4,
    "model.width": 8,
    "lens.widths": (8,),
}
# What a machine that is only measured need not have.
ABSENT = {"tensorflow", "tensorflow_datasets", "grain", "array_record", "clu", "simplejpeg", "cv2"}


class Command(NamedTuple):
    """A finished command: its output, JSON, trace, and the packages that it imported."""

    output: str
    found: dict
    trace: pathlib.Path
    packages: set[str]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("step")
    path, trace = folder / "step.json", folder / "trace"
    flags = [f"--config.{key}={value}" for key, value in TINY.items()]
    flags += ["--steps=2", f"--json={path}", f"--profile={trace}"]
    words = [sys.executable, "-X", "importtime", "-m", "benchmarks.step", *flags]
    # Compiling takes most of the time.
    ended = run(*words, JAX_DISABLE_MOST_OPTIMIZATIONS="1")
    assert ended.returncode == 0, ended.stderr
    imports = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    packages = {line.rpartition("|")[2].strip().partition(".")[0] for line in imports}
    return Command(ended.stdout, json.loads(path.read_text()), trace, packages)


def test_the_command_measures_the_three_steps(command):
    found = command.found
    assert list(found["steps"]) == ["baseline", "lens", "cheap lens"]
    assert found["config"]["lens"]["widths"] == [8]
    for step in found["steps"].values():
        speed = step["images_per_second"]
        assert 0 < speed["least"] <= speed["median"] <= speed["most"]
        assert step["flops_per_second"] == pytest.approx(step["flops"] * speed["median"] / 4)
    assert found["overheads"]["lens"]["flops"] > found["overheads"]["cheap lens"]["flops"] > 1
    assert found["matmul_flops_per_second"] > 0
    assert list(command.trace.rglob("*.xplane.pb"))
    assert "rotation on glyphs, 4 images of 32 px a step, float32" in command.output


def test_the_command_needs_nothing_that_reads_data(command):
    assert {"lens_jax", "jax", "flax", "optax", "ml_collections"} <= command.packages
    assert not command.packages & ABSENT


@pytest.fixture
def config() -> ConfigDict:
    return variants.changed(rotation.get_config("glyphs"), TINY)


def test_changes_leave_the_config_that_they_change_as_it_was(config):
    changed = variants.changed(config, {"lens.widths": (8, 16), "lens.kind": "none"})
    assert changed.lens.widths == (8, 16)
    assert changed.lens.kind == "none"
    assert config.lens.widths == (8,)
    assert config.lens.kind == "network"
    with pytest.raises(KeyError, match="width"):
        variants.changed(config, {"lens.width": (8,)})


def flops(function: Callable, *shapes: tuple[int, ...]) -> float:
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return programs.count_flops(jax.jit(function).lower(*arguments))


def test_flops_are_those_counted_by_hand():
    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def gradients(x: jax.Array, w: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(convolve, x, w)[1](y)

    def to_images(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
        return gradients(x, w, y)[0]

    # 2 images, 8 x 8 positions, 3 x 3 pixels, 4 channels in, 8 out; a multiplication and an
    # addition each.
    once = 2 * 2 * 8 * 8 * 3 * 3 * 4 * 8
    x, w, y = (2, 10, 10, 4), (3, 3, 4, 8), (2, 8, 8, 8)
    assert flops(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    assert flops(convolve, x, w) == once
    assert flops(gradients, x, w, y) == 2 * once
    assert flops(to_images, x, w, y) == once


def test_the_flops_of_the_steps_are_those_of_their_passes(command, config):
    baseline, lens, cheap = (step["flops"] for step in command.found["steps"].values())
    system = make_system(variants.changed(config, variants.LENS), programs.FACTS, 100)
    views = jnp.zeros((16, 32, 32, 3))
    params = jax.eval_shape(lambda: system.network.init(jax.random.key(0), views, None, False))
    lens_params = jax.eval_shape(lambda: system.lens_network.init(jax.random.key(0), views))

    def extract(variables: dict) -> jax.Array:
        return system.network.apply(variables, views, None, True, mutable=["batch_stats"])[0]

    def alter(variables: dict) -> jax.Array:
        return system.lens_network.apply(variables, views)

    extracting = programs.count_flops(jax.jit(extract).lower(params))
    lensing = programs.count_flops(jax.jit(alter).lower(lens_params))
    # Forward, to parameters and to activations; on lensed and raw, and to lensed and raw pixels
    # once more.
    assert baseline == pytest.approx(3 * extracting, rel=0.1)
    assert lens == pytest.approx(8 * extracting + 3 * lensing, rel=0.1)
    assert cheap == pytest.approx(lens / 2, rel=0.02)


def test_a_batch_in_parts_has_all_of_its_flops(command, config):
    whole_batch = command.found["steps"]["baseline"]["flops"]
    config = variants.changed(config, variants.BASELINE | {"train.accumulate": 2})
    devices = mesh.make_mesh()
    _, lowered = programs.lower(config, devices)
    flops = programs.count_step_flops(config, lowered, devices)
    assert flops == pytest.approx(whole_batch, rel=1e-4)  # the count of steps takes a few


def test_a_step_holds_its_parameters_and_their_momentum(command, config):
    config = variants.changed(config, variants.BASELINE)
    init, _ = compiling.make_functions(config, programs.FACTS, programs.make_clock(config))
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init).params))
    assert 2 * weights < command.found["steps"]["baseline"]["memory"] < 2**24


def test_all_steps_from_one_update_of_the_lens_to_the_next_are_taken_together():
    def count(state: int, batch: dict) -> tuple[int, dict]:
        return state + 1, {}

    program = programs.Program(lambda: 0, count, 3, 4e9, 2**20, 1.5)
    steps = programs.run(program, {})
    assert next(steps) == 3
    assert next(steps) == 6
    # The speed is the mean over them.
    assert measure.summarize(program, 10, [6.0]).images_per_second.median == 5.0


def test_a_step_of_another_task_can_be_built():
    config = variants.changed(jigsaw.get_config("digits"), variants.LENS | {"data.batch_size": 4})
    _, lowered = programs.lower(config, mesh.make_mesh())
    assert programs.count_flops(lowered) > 0


def test_a_batch_has_what_a_step_is_traced_with(config):
    batch = programs.make_batch(config)
    assert batch["image"].shape == (4, 32, 32, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["label"].dtype == np.int32


def test_speeds_are_medians_and_the_overhead_is_their_ratio(config):
    assert timing.speed(12, [3.0, 1.0, 2.0, 4.0, 2.0]) == (6.0, 3.0, 12.0)
    program = programs.Program(lambda: None, lambda state, batch: (state, {}), 1, 4e9, 2**20, 1.5)
    baseline = measure.summarize(program, 10, [2.0, 1.0, 4.0])
    lens = measure.summarize(program._replace(flops=12e9), 10, [8.0, 8.0, 8.0])
    assert baseline.flops_per_second == 2e9
    assert lens.images_per_second.median == 1.25
    assert lens.flops_per_second == 1.5e9
    assert measure.compare(lens, baseline) == (4.0, 3.0, 4 / 3)
    steps = {"baseline": baseline, "lens": lens}
    lines = table.describe(config, measure.Results(steps, 64, 4e9, 2**21)).splitlines()
    assert " ".join(lines[2].split()) == "baseline 5.0 2.5 .. 10.0 4.00 2.0 50.0% 1 1.5 s"
    assert lines[4] == "lens / baseline: time 4.00, FLOPs 3.00, time by FLOPs 1.33"
    assert lines[5].startswith("matmul: 4.0 GFLOP/s")
    assert lines[6] == "a device held 2 MiB at most, in the whole run"


def test_every_run_has_its_turn_in_every_round():
    turns = []

    def take_turns(name: str) -> Iterator[None]:
        while True:
            turns.append(name)
            yield

    seconds = timing.interleave({name: take_turns(name) for name in "abc"}, rounds=4)
    assert "".join(turns) == "abc" * (timing.WARM_UP + 4)
    assert [len(times) for times in seconds.values()] == [4, 4, 4]


def test_the_chain_of_products_keeps_the_size_of_its_numbers():
    before, factor = ceiling.matrices(mesh.make_mesh(), "float32", 256)
    after = ceiling.multiplied(before, factor, 8)
    assert float(jnp.std(after)) == pytest.approx(float(jnp.std(before)), rel=0.2)
    np.testing.assert_allclose(
        after, before @ jnp.linalg.matrix_power(factor, 8), rtol=1e-2, atol=1e-3
    )
