import contextlib
import importlib.metadata
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax.errors import UserError
from lens_jax.tasks.base import DataFacts
from lens_jax.train import optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.system import make_system
from lens_jax.workdir import checkpoints, files


def make_state(config: ConfigDict) -> TrainState:
    """A state with a random value everywhere, in the types that training has."""
    optimizer = optimizers.extractor_optimizer(config, Clock(4, 8, 100))
    lens_optimizer = optimizers.lens_optimizer(config)
    system = make_system(config, DataFacts(num_classes=3, size=100), total_steps=100)
    shapes = jax.eval_shape(lambda: init_state(config, system, optimizer, lens_optimizer))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=9, size=x.shape), x.dtype), shapes)


def save(workdir: pathlib.Path, steps: dict[int, object], keep: int | None = None, **run) -> None:
    with contextlib.closing(checkpoints.open_checkpoints(str(workdir), keep)) as manager:
        for step, state in steps.items():
            checkpoints.save(manager, step, state, run)


def restore(workdir: pathlib.Path, step: int, like: object) -> checkpoints.Restored:
    with contextlib.closing(checkpoints.open_checkpoints(str(workdir))) as manager:
        return checkpoints.restore(manager, step, jax.eval_shape(lambda: like))


@pytest.mark.parametrize(
    ("kind", "batch_norm"), [("network", "joint"), ("network", "split"), ("none", "joint")]
)
def test_a_state_comes_back_bit_for_bit(kind: str, batch_norm: str, tmp_path, tiny_config):
    state = make_state(tiny_config({"lens.kind": kind, "lens.batch_norm": batch_norm}))
    save(tmp_path, {5: state})
    restored = restore(tmp_path, 5, state)
    assert restored.step == 5
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    assert bool(jax.tree.leaves(restored.state.lens_params)) == (kind == "network")
    assert restored.state.lens_penalty.tobytes() == state.lens_penalty.tobytes()
    old_leaves = jax.tree_util.tree_leaves_with_path(state)
    new_leaves = jax.tree.leaves(restored.state)
    for (path, old), new in zip(old_leaves, new_leaves, strict=True):
        name = jax.tree_util.keystr(path)
        assert (new.dtype, new.shape) == (old.dtype, old.shape), name
        assert np.asarray(new).tobytes() == np.asarray(old).tobytes(), name


def test_numbers_that_are_hard_to_keep_are_kept(tmp_path):
    after_one = np.nextafter(np.float32(1), np.float32(2))
    values = np.array([np.nan, -0.0, np.inf, 1e-45, after_one], np.float32)
    arrays = {"float32": jnp.asarray(values), "bfloat16": jnp.asarray(values, jnp.bfloat16)}
    state = arrays | {"none": {}}
    save(tmp_path, {1: state})
    restored = restore(tmp_path, 1, state).state
    assert restored["none"] == {}
    for name in ("float32", "bfloat16"):
        assert np.asarray(restored[name]).tobytes() == np.asarray(state[name]).tobytes()


def test_the_run_object_comes_back_with_the_versions_of_the_libraries(tmp_path):
    run = {
        "config": {"seed": 0, "widths": [8, 8], "dir": ""},
        "class_names": ["é", "b c"],
        "position": {"next_index": 12},
        "seconds": 1.5,
    }
    save(tmp_path, {1: {"x": jnp.zeros(1)}}, **run)
    with contextlib.closing(checkpoints.open_checkpoints(str(tmp_path))) as manager:
        alone = checkpoints.read_run(manager, 1)
    assert alone == restore(tmp_path, 1, {"x": jnp.zeros(1)}).run
    versions = alone.pop("versions")
    assert alone.pop("format") == files.FORMAT
    assert alone == run == json.loads(json.dumps(alone))
    assert versions["jax"] == jax.__version__
    assert versions == {name: importlib.metadata.version(name) for name in checkpoints.PACKAGES}


def test_each_step_has_its_own_state_and_only_the_newest_are_kept(tmp_path):
    save(tmp_path, {step: {"x": jnp.full(2, float(step))} for step in (1, 2, 10, 11)}, keep=2)
    assert checkpoints.saved_steps(str(tmp_path)) == [10, 11]
    for step in (10, 11):
        np.testing.assert_array_equal(restore(tmp_path, step, {"x": jnp.zeros(2)}).state["x"], step)


def test_without_a_limit_all_are_kept_in_order_of_their_numbers(tmp_path):
    save(tmp_path, {step: {"x": jnp.zeros(1)} for step in (2, 9, 10, 100)})
    assert checkpoints.saved_steps(str(tmp_path)) == [2, 9, 10, 100]


def test_a_folder_without_checkpoints_has_no_steps_and_stays_as_it_is(tmp_path):
    assert checkpoints.saved_steps(str(tmp_path)) == []
    assert checkpoints.saved_steps(str(tmp_path / "missing")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("like", "words"),
    [
        ({"a": {"kernel": jnp.zeros((2, 3), jnp.bfloat16)}}, ("float32[2, 3]", "bfloat16[2, 3]")),
        ({"a": {"kernel": jnp.zeros((2, 4))}}, ("float32[2, 3]", "float32[2, 4]")),
        ({"a": {}}, ("float32[2, 3]", "absent")),
        ({"b": {"kernel": jnp.zeros((2, 3))}}, ("float32[2, 3]", "absent")),
    ],
)
def test_a_checkpoint_of_other_arrays_is_refused_and_the_array_named(like, words, tmp_path):
    save(tmp_path, {3: {"a": {"kernel": jnp.zeros((2, 3))}}})
    with pytest.raises(UserError, match=r"checkpoint 3 .*a/kernel is") as caught:
        restore(tmp_path, 3, like)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_other_networks_are_refused(tmp_path, tiny_config):
    save(tmp_path, {1: make_state(tiny_config())})
    with pytest.raises(UserError, match="does not fit its config"):
        restore(tmp_path, 1, make_state(tiny_config({"model.width": 8})))
    with pytest.raises(UserError, match=r"lens_.* not absent"):
        restore(tmp_path, 1, make_state(tiny_config({"lens.kind": "none"})))
    with pytest.raises(UserError, match="batch_stats/extractor"):
        restore(tmp_path, 1, make_state(tiny_config({"lens.batch_norm": "split"})))


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "b]"])
def test_a_folder_whose_checkpoints_orbax_cannot_find_again_is_refused(tmp_path, name: str):
    workdir = tmp_path / name / "run"
    with pytest.raises(UserError, match="rename the folder or choose another") as caught:
        checkpoints.open_checkpoints(str(workdir), keep=1)
    assert str(workdir) in str(caught.value)
    with pytest.raises(UserError, match="rename the folder"):
        checkpoints.saved_steps(str(workdir))
    assert not workdir.exists()
