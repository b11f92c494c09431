import contextlib

import jax
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.train import warm_start
from lens_jax.workdir import checkpoints
from tests.train.tiny import build, random_state


def as_arrays(state) -> dict:
    """What a checkpoint of a state holds, by the names of its parts."""
    return {part: getattr(state, part) for part in warm_start.NETWORKS}


def test_networks_of_the_same_config_are_taken_whole_and_nothing_else_is(tiny_config):
    built = build(tiny_config())
    own, other = built.init(), random_state(built)
    taken = warm_start.take(own, as_arrays(other))
    assert taken.left == ()
    for part in warm_start.NETWORKS:
        for a, b in zip(
            jax.tree.leaves(getattr(taken.state, part)),
            jax.tree.leaves(getattr(other, part)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    for part in ("step", "opt_state", "lens_opt_state", "memory"):
        jax.tree.map(np.testing.assert_array_equal, getattr(taken.state, part), getattr(own, part))


def test_a_head_of_another_shape_stays_as_it_is_drawn_and_is_named(tiny_config):
    rotation = build(tiny_config())
    classes = build(tiny_config(task={"name": "supervised"}))
    own, other = classes.init(), random_state(rotation)
    taken = warm_start.take(own, as_arrays(other))
    assert set(taken.left) == {"params/head/Dense_0/kernel", "params/head/Dense_0/bias"}
    kept = taken.state.params["head"]["Dense_0"]["kernel"]
    np.testing.assert_array_equal(kept, own.params["head"]["Dense_0"]["kernel"])
    text = warm_start.describe(taken, "checkpoint 3 of elsewhere")
    fitting, total = taken.counts["params"]
    assert total - fitting == 2
    assert f"params {fitting} of {total} arrays" in text
    assert "left as drawn: params/head/Dense_0/" in text


def test_a_target_network_begins_as_a_copy_of_the_other_runs_network(tiny_config):
    task = {"name": "byol", "hidden": 8, "embedding": 4}
    rotation = build(tiny_config({"lens.kind": "none"}))
    byol = build(tiny_config({"lens.kind": "none"}, task))
    other = random_state(rotation)
    taken = warm_start.take(byol.init(), as_arrays(other))
    for part in ("params", "target_params"):
        jax.tree.map(
            np.testing.assert_array_equal,
            getattr(taken.state, part)["extractor"],
            other.params["extractor"],
        )


def test_networks_of_which_nothing_fits_and_folders_without_checkpoints_are_refused(
    tiny_config, tmp_path
):
    narrow = build(tiny_config({"lens.kind": "none"}))
    wide = build(tiny_config({"lens.kind": "none", "model.name": "resnet18", "model.width": 8}))
    with pytest.raises(UserError, match="no checkpoint in"):
        warm_start.begin_from(narrow.init(), str(tmp_path))
    with pytest.raises(UserError, match=f"no checkpoint in --init {tmp_path}"):
        warm_start.check(str(tmp_path))

    with contextlib.closing(checkpoints.open_checkpoints(str(tmp_path))) as manager:
        checkpoints.save(manager, 5, wide.init(), {"config": {}})
    taken = warm_start.begin_from(wide.init(), str(tmp_path))
    assert jax.tree.structure(taken) == jax.tree.structure(wide.init())
    nothing = narrow.init().replace(params={"other": np.zeros(3)}, batch_stats={})
    with pytest.raises(UserError, match="nothing in checkpoint 5 of"):
        warm_start.begin_from(nothing, str(tmp_path))
