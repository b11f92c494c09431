from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.errors import UserError
from lens_jax.models.network import Network
from lens_jax.tasks.base import Views
from lens_jax.tasks.supervised import Supervised
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import joint_gradients, make_step
from lens_jax.train.system import make_key, make_system


def make(config, classes: int = 3) -> tuple[Callable, TrainState]:
    """The jitted step of a config, and its first state."""
    system, clock = make_system(config, classes), Clock(config.data.batch_size, 1000, 1000)
    both = extractor_optimizer(config, clock), lens_optimizer(config)
    state = jax.jit(lambda: init_state(config, system, *both))()
    return jax.jit(make_step(config, system, *both)), state


def random_batch(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return {"image": images, "label": rng.integers(0, 3, count).astype(np.int32)}


def colored_batch(count: int, seed: int) -> dict[str, np.ndarray]:
    """Labels that the color tells."""
    batch = random_batch(count, seed)
    batch["image"] //= 8
    batch["image"][np.arange(count), :, :, batch["label"]] += 200
    return batch


@pytest.fixture
def augmented(tiny_config) -> tuple[Callable, TrainState]:
    overrides = {
        "augment.flip": True,
        "augment.color": True,
        "shortcut": "arrow",
        "lens.raw_fraction": 0.5,
    }
    return make(tiny_config(overrides, {"name": "rotation", "all_rotations": False}))


def test_a_step_is_a_pure_function_of_state_and_batch_and_moves_all_of_the_state(augmented):
    step, first = augmented
    batch = random_batch(4)
    one, again = step(first, batch), step(first, batch)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    state, metrics = one
    assert [int(s.step) for s in (first, state, step(state, batch)[0])] == [0, 1, 2]
    assert jax.tree.structure(state) == jax.tree.structure(first)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), first
    )
    for part in ("params", "batch_stats", "opt_state", "lens_params", "lens_opt_state"):
        changed = [
            (a != b).any()
            for a, b in zip(
                *(jax.tree.leaves(getattr(s, part)) for s in (first, state)), strict=True
            )
        ]
        assert any(changed), part
    assert metrics.keys() == {
        "loss",
        "accuracy_lensed",
        "accuracy_raw",
        "lens_adversarial",
        "lens_reconstruction",
        "lens_penalty",
    }
    # The next step draws anew, from the same batch.
    assert step(first.replace(step=jnp.int32(1)), batch)[1]["loss"] != metrics["loss"]


def test_the_optimizers_get_the_gradients_and_the_states_that_belong_to_them(tiny_config):
    config = tiny_config({"optimizer.weight_decay": 0.1, "lens.learning_rate": 0.01})
    system, clock = make_system(config, 3), Clock(4, 1000, 1000)
    both = extractor_optimizer(config, clock), lens_optimizer(config)
    step, first = make(config)
    state, batch = first, random_batch(4)
    for _ in range(2):
        state, _ = step(state, batch)

    def ask(images: jax.Array) -> Views:
        return system.task.views(jax.random.key(0), {"image": images}, lambda images: images)

    def by_hand(state: TrainState) -> TrainState:
        images = jnp.asarray(batch["image"], jnp.float32) / 127.5 - 1
        found = joint_gradients(
            system,
            lens=config.lens,
            state=state,
            images=images,
            ask=ask,
            keys=partial(make_key, 0, state.step),
        )
        updates, opt_state = both[0].update(found.params, state.opt_state, state.params)
        moves, lens_opt_state = both[1].update(
            found.lens_params, state.lens_opt_state, state.lens_params
        )
        return state.replace(
            params=optax.apply_updates(state.params, updates),
            lens_params=optax.apply_updates(state.lens_params, moves),
            opt_state=opt_state,
            lens_opt_state=lens_opt_state,
            batch_stats=found.batch_stats,
            step=state.step + 1,
        )

    by_hand = jax.jit(by_hand)
    expected = by_hand(by_hand(first))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def differ(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any((a != b).any() for a, b in pairs)


def assert_alike(found: Any, expected: Any, atol: float = 1e-6) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=atol)


def test_updated_at_every_third_step_the_lens_moves_then_as_it_would_at_every_step(tiny_config):
    (always, _), (seldom, state) = (
        make(tiny_config({"lens.update_every": every})) for every in (1, 3)
    )
    for number in range(7):
        batch = random_batch(4, seed=number)
        new, usual = seldom(state, batch)[0], always(state, batch)[0]
        if number % 3 == 0:
            assert differ(new.lens_params, state.lens_params)
            assert_alike(new.lens_opt_state, usual.lens_opt_state)
            # Adam divides by the gradient's size, and with it enlarges what rounding left of it.
            assert_alike(new.lens_params, usual.lens_params, atol=1e-4)
        else:
            assert not differ(new.lens_params, state.lens_params)
            assert not differ(new.lens_opt_state, state.lens_opt_state)
        assert_alike((new.params, new.batch_stats), (usual.params, usual.batch_stats))
        state = new
    assert int(state.lens_opt_state[0].count) == 3


@pytest.mark.parametrize(
    ("budget", "first", "second"),
    [("penalty", 50.0, 50.0), ("bound", 0.0, 0.0), ("target", 50.0, 50 * np.exp(-0.02))],
)
def test_the_penalty_is_fixed_or_none_or_steered(
    tiny_config, budget: str, first: float, second: float
):
    step, state = make(
        tiny_config({"lens.budget": budget, "lens.lambda_": 50.0, "lens.update_every": 2})
    )
    for expected in (first, second):
        state, metrics = step(state, random_batch(4))
        np.testing.assert_allclose(metrics["lens_penalty"], expected, rtol=1e-6)
    if budget == "bound":
        assert (
            metrics["lens_reconstruction"] > 0.9 * 0.05**2
        )  # a mean square is at least a squared mean


@pytest.mark.parametrize(("start", "above"), [(0.1, True), (300.0, False)])
def test_a_steered_lens_comes_to_change_as_much_as_the_target(
    tiny_config, start: float, above: bool
):
    target = 0.02
    overrides = {
        "lens.budget": "target",
        "lens.target": target,
        "lens.lambda_": start,
        "lens.objective": "full",
        "lens.learning_rate": 1e-2,
        "lens.raw_fraction": 0.0,
        "lens.widths": (8,),
        "optimizer.learning_rate": 0.05,
    }
    step, state = make(tiny_config(overrides, {"name": "supervised"}))
    shares = []
    for number in range(500):
        state, metrics = step(state, random_batch(4, seed=number % 4))
        shares.append(float(metrics["lens_reconstruction"]) / target)
    assert np.mean(shares[:50]) > 3 if above else np.mean(shares[:50]) < 1 / 3
    assert 0.6 < np.mean(shares[-50:]) < 1.6


@pytest.mark.parametrize("kind", ["network", "fgsm", "pgd"])
def test_an_objective_that_the_task_cannot_have_is_refused_before_a_step_is_made(
    tiny_config, kind: str
):
    exemplar = {"name": "exemplar", "copies": 2, "embedding": 8}
    config = tiny_config({"lens.kind": kind, "lens.objective": "least_likely"}, exemplar)
    with pytest.raises(
        UserError, match="'least_likely' needs a task with classes: choose full"
    ) as caught:
        make_step(config, make_system(config, 3), None, None)
    assert "\n" not in str(caught.value)


def test_images_without_others_to_compare_with_are_refused_before_a_step_is_taken(tiny_config):
    overrides = {"lens.objective": "full", "lens.raw_fraction": 0.25}
    step, state = make(tiny_config(overrides, {"name": "exemplar", "copies": 2, "embedding": 8}))
    with pytest.raises(UserError, match=r"got 1: use at least 2 .*lens.raw_fraction") as caught:
        jax.eval_shape(step, state, random_batch(4))
    assert "\n" not in str(caught.value)


def test_another_seed_gives_other_networks(tiny_config):
    first, other = (make(tiny_config({"seed": seed, "lens.widths": (8,)}))[1] for seed in (0, 1))
    for name in ("params", "lens_params"):
        pairs = zip(
            *(jax.tree.leaves(getattr(state, name)) for state in (first, other)), strict=True
        )
        assert max(abs(a - b).max() for a, b in pairs) > 0.1


@pytest.mark.parametrize(("kind", "most"), [("none", 0.3), ("network", 1.0), ("fgsm", 1.0)])
def test_a_few_images_are_learned_by_heart(tiny_config, kind: str, most: float):
    overrides = {
        "data.batch_size": 16,
        "model.width": 8,
        "optimizer.learning_rate": 1.0,
        "lens.kind": kind,
    }
    step, state = make(tiny_config(overrides))
    batch = random_batch(16)
    for _ in range(60):
        state, metrics = step(state, batch)
    assert metrics["accuracy_raw"] > 0.95
    assert metrics["loss"] < most


@pytest.mark.parametrize("shuffled", [True, False])
def test_labels_are_learned_only_where_they_belong_to_their_images(tiny_config, shuffled: bool):
    config = tiny_config({"data.batch_size": 48, "lens.kind": "none"}, {"name": "supervised"})
    step, state = make(config)
    rng = np.random.default_rng(0)
    for number in range(60):
        batch = colored_batch(48, seed=number % 4)
        labels = rng.permutation(batch["label"]) if shuffled else batch["label"]
        state, _ = step(state, batch | {"label": labels})
    held_out = colored_batch(90, seed=99)
    network = Network(make_system(config, 3).network.extractor, Supervised(3).head(jnp.float32))
    logits = jax.jit(
        lambda s, x: network.apply(
            {"params": s.params, "batch_stats": s.batch_stats}, x, None, False
        )
    )(state, jnp.asarray(held_out["image"], jnp.float32) / 127.5 - 1)
    sure = jax.nn.softmax(logits)[np.arange(90), held_out["label"]]
    if shuffled:
        assert sure.mean() == pytest.approx(1 / 3, abs=0.05)
    else:
        assert (jnp.argmax(logits, -1) == held_out["label"]).mean() > 0.95
        assert sure.mean() > 0.9


@pytest.mark.parametrize("kind", ["network", "none"])
def test_an_accumulated_step_takes_the_mean_gradient_of_its_parts(kind: str, tiny_config, x64):
    task = {"name": "rotation", "all_rotations": False}
    config = tiny_config({"dtype": "float64", "lens.kind": kind, "train.accumulate": 2}, task)
    system = make_system(config, 3)
    sgd = optax.sgd(1.0)
    state = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float64), init_state(config, system, sgd, sgd)
    )
    state = state.replace(step=jnp.int32(5))
    batch = random_batch(4)
    new, metrics = jax.jit(make_step(config, system, sgd, sgd))(state, batch)

    whole = tiny_config({"dtype": "float64", "lens.kind": kind}, task)
    single = jax.jit(make_step(whole, system, sgd, sgd))
    parts, stats = [], state.batch_stats
    for part in range(2):
        # Its draws are those of another step, and the update of SGD at rate 1 is the gradient.
        before = state.replace(step=jnp.int32(5 * 2 + part), batch_stats=stats)
        parts.append(single(before, {name: rows[part::2] for name, rows in batch.items()}))
        stats = parts[-1][0].batch_stats
    assert int(new.step) == 6
    for name in ("params", "lens_params"):
        mean = jax.tree.map(lambda a, b: (a + b) / 2, *(getattr(after, name) for after, _ in parts))
        assert_close(getattr(new, name), mean)
    assert_close(new.batch_stats, stats)
    assert_close(
        metrics, jax.tree.map(lambda a, b: (a + b) / 2, *(metrics for _, metrics in parts))
    )


@pytest.mark.parametrize("kind", ["network", "pgd"])
def test_a_step_that_computes_units_again_is_the_same_step(kind: str, tiny_config, x64):
    overrides = {"dtype": "float64", "lens.kind": kind, "lens.blocks": 3, "model.width": 8}
    once, again = (tiny_config(overrides | {"remat": remat}) for remat in (False, True))
    (step, state), (remat_step, other) = make(once), make(again)
    assert_close(state, other)
    batch = random_batch(4)
    (new, metrics), (remat_new, remat_metrics) = step(state, batch), remat_step(state, batch)
    assert_close(remat_metrics, metrics)
    assert_close(remat_new, new)
    assert remat_step.lower(state, batch).as_text().count("convolution") > step.lower(
        state, batch
    ).as_text().count("convolution")


def assert_close(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=jax.tree_util.keystr(path))
