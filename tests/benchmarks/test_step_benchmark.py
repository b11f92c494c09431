import importlib
import json
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import recipe, step, timing
from configs import rotation
from lens_jax.config import to_json
from lens_jax.devices import mesh
from lens_jax.errors import UserError
from lens_jax.train.system import make_system

TINY = {"data.batch_size": 4, "model.width": 8, "lens.widths": (8, 8)}


@pytest.mark.parametrize(("name", "variant"), [("imagenet", "imagenet2012"), ("glyphs", "glyphs")])
def test_a_recipe_is_the_config_that_training_has(name: str, variant: str):
    ours = json.loads(json.dumps(recipe.make_config(name, {})))
    assert ours == to_json(rotation.get_config(variant))


def test_changes_are_seen_by_attribute_and_leave_the_config_that_they_change_as_it_was():
    config = recipe.make_config("glyphs", {"lens.widths": (8, 16), "optimizer.learning_rate": 1})
    assert config.lens.widths == (8, 16)
    assert config.optimizer.learning_rate == 1.0
    assert recipe.changed(config, recipe.BASELINE).lens.kind == "none"
    assert config.lens.kind == recipe.make_config("glyphs", {}).lens.kind == "network"


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("lens.update_every=2", ("lens.update_every", 2)),
        ("lens.widths=[8, 16]", ("lens.widths", (8, 16))),
        ("lens.objective=full", ("lens.objective", "full")),
        ("remat=True", ("remat", True)),
        ("data.dir=a=b", ("data.dir", "a=b")),
    ],
)
def test_a_change_is_read_as_python_reads_it(words: str, change: tuple):
    assert recipe.parse_change(words) == change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lens.width": (8,)},
            "unknown config key 'lens.width': the keys are seed, dtype, .*lens.widths",
        ),
        ({"remat": "true"}, "remat is 'true': give a bool, such as False"),
        ({"lens.update_every": 0.5}, "lens.update_every is 0.5: give a int, such as 1"),
        (
            {"data.batch_size": 5, "train.accumulate": 2},
            "5 images a step cannot be shared .* multiple of 2",
        ),
        ({"mesh.fsdp": 0}, "mesh.fsdp is 0: give a number that divides the 1 devices"),
    ],
)
def test_changes_that_cannot_be_are_refused_in_one_line(changes: dict, message: str):
    with pytest.raises(UserError, match=message) as caught:
        recipe.make_config("glyphs", changes)
    assert "\n" not in str(caught.value)


def flops(function: Callable, *shapes: tuple[int, ...]) -> float:
    return step.count_flops(
        jax.jit(function).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes))
    )


def test_flops_are_those_counted_by_hand():
    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def gradients(x: jax.Array, w: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(convolve, x, w)[1](y)

    def to_images(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
        return gradients(x, w, y)[0]

    # 2 images, 8 x 8 places, 3 x 3 pixels, 4 channels in, 8 out; a multiplication and an addition
    # each.
    once = 2 * 2 * 8 * 8 * 3 * 3 * 4 * 8
    x, w, y = (2, 10, 10, 4), (3, 3, 4, 8), (2, 8, 8, 8)
    assert flops(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    assert flops(convolve, x, w) == once
    assert flops(gradients, x, w, y) == 2 * once
    assert flops(to_images, x, w, y) == once


def test_the_flops_of_the_steps_are_those_of_their_passes():
    config = recipe.make_config("glyphs", TINY | {"task.all_rotations": True})
    devices = mesh.make_mesh()
    baseline, lens, cheap = (
        step.count_flops(step.lower(recipe.changed(config, changes), "glyphs", devices)[0])
        for changes in step.STEPS.values()
    )
    system, views = make_system(recipe.changed(config, recipe.LENS), 0), jnp.zeros((16, 32, 32, 3))
    params = jax.eval_shape(lambda: system.network.init(jax.random.key(0), views, None, False))
    lens_params = jax.eval_shape(lambda: system.lens.init(jax.random.key(0), views))

    def forward(variables: dict) -> jax.Array:
        return system.network.apply(variables, views, None, True, mutable=["batch_stats"])[0]

    once = step.count_flops(jax.jit(forward).lower(params))
    lensing = step.count_flops(jax.jit(lambda v: system.lens.apply(v, views)).lower(lens_params))
    # Forward, to parameters and to activations; on lensed and raw, and to lensed and raw pixels
    # once more.
    assert baseline == pytest.approx(3 * once, rel=0.1)
    assert lens == pytest.approx(8 * once + 3 * lensing, rel=0.1)
    assert cheap == pytest.approx(lens / 2, rel=0.02)


def test_a_batch_in_parts_has_all_of_its_flops_and_more_steps_are_timed_where_the_lens_rests():
    config, devices = recipe.make_config("glyphs", TINY | recipe.BASELINE), mesh.make_mesh()
    whole = step.count_flops(step.lower(config, "glyphs", devices)[0])
    config = recipe.changed(config, {"train.accumulate": 2, "lens.update_every": 3})
    program = step.build(config, "glyphs", devices)
    assert program.flops == pytest.approx(whole, rel=1e-4)  # the count of steps takes a few
    steps = step.run(program, mesh.put_batch(devices, recipe.make_batch(config)))
    next(steps)
    assert int(next(steps).step) == 2 * 3
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(jax.eval_shape(program.init).params))
    assert 2 * weights < program.memory < 2**24


def test_speeds_are_medians_and_the_overhead_is_their_ratio():
    assert timing.speed(12, [3.0, 1.0, 2.0, 4.0, 2.0]) == (6.0, 3.0, 12.0)
    program = step.Program(lambda: None, lambda state, batch: (state, {}), 1, 4e9, 2**20, 1.5)
    baseline = step.summarize(program, 10, [2.0, 1.0, 4.0])
    lens = step.summarize(program._replace(flops=12e9), 10, [8.0, 8.0, 8.0])
    assert baseline.flops_per_second == 2e9
    assert lens.images_per_second.median == 1.25
    assert lens.flops_per_second == 1.5e9
    assert step.compare(lens, baseline) == (4.0, 3.0, 4 / 3)
    lines = step.describe({"baseline": baseline, "lens": lens}, ceiling=4e9).splitlines()
    assert " ".join(lines[1].split()) == "baseline 5.0 2.5 .. 10.0 4.00 2.0 50.0% 1 1.5 s"
    assert lines[3] == "lens / baseline: time 4.00, FLOPs 3.00, time by FLOPs 1.33"


def test_every_run_has_its_turn_in_every_round():
    turns = []

    def run(name: str):
        while True:
            turns.append(name)
            yield

    seconds = timing.interleave({name: run(name) for name in "abc"}, rounds=4)
    assert "".join(turns) == "abc" * (timing.WARM_UP + 4)
    assert [len(times) for times in seconds.values()] == [4, 4, 4]


def test_the_chain_of_products_keeps_the_size_of_its_numbers():
    devices = mesh.make_mesh()
    before, factor = step.matrices(devices, "float32", 256)
    after = step.multiplied(before, factor, 8)
    assert float(jnp.std(after)) == pytest.approx(float(jnp.std(before)), rel=0.2)
    np.testing.assert_allclose(
        after, before @ jnp.linalg.matrix_power(factor, 8), rtol=1e-2, atol=1e-3
    )


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["step", *words])
    step.main()


def test_the_command_measures_the_three_steps(monkeypatch, capsys, tmp_path):
    words = [
        "--images=4",
        "--image_size=16",
        "--steps=2",
        "--set",
        "model.width=8",
        "--set",
        "lens.widths=[8]",
    ]
    folder, path = tmp_path / "trace", tmp_path / "step.json"
    monkeypatch.setattr(step, "matmul_size", lambda: (64, 2))
    call(monkeypatch, *words, f"--json={path}", f"--profile={folder}")
    found = json.loads(path.read_text())
    assert list(found["steps"]) == ["baseline", "lens", "cheap lens"]
    assert found["config"]["lens"]["widths"] == [8]
    for each in found["steps"].values():
        speed = each["images_per_second"]
        assert 0 < speed["least"] <= speed["median"] <= speed["most"]
        assert each["flops_per_second"] == pytest.approx(each["flops"] * speed["median"] / 4)
    assert found["overheads"]["lens"]["flops"] > found["overheads"]["cheap lens"]["flops"] > 1
    assert list(folder.rglob("*.xplane.pb"))
    assert "glyphs, 4 images of 16 px a step, float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps=0"], "--steps is 0: give 1 or more"),
        (["--recipe=cifar"], "unknown recipe 'cifar': choose one of imagenet, glyphs"),
        (
            ["--json=nowhere/at/all"],
            "--json 'nowhere/at/all' lies in no folder: create 'nowhere/at' first",
        ),
        (
            ["--set", "lens.raw_fraction=0"],
            "--set lens.raw_fraction is what the steps differ in: set another key",
        ),
        (["--set", "remat"], "--set needs KEY=VALUE, such as lens.update_every=2, not 'remat'"),
    ],
)
def test_mistakes_end_the_command_in_one_line(monkeypatch, words: list[str], message: str):
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, *words)
    assert caught.value.code == f"error: {message}"


def test_without_pytorch_the_peer_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peer_torch", raising=False)
    with pytest.raises(
        SystemExit, match="PyTorch, which is not installed: run `pip install torch`"
    ):
        importlib.import_module("benchmarks.peer_torch")
