"""What EquiMod measures on test images, against one image and one way to make views at a time."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.devices import mesh
from lens_jax.ops import color
from lens_jax.ops.alone import alone
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.base import Outputs
from lens_jax.train.system import Purpose, make_key
from lens_jax.train.validation import Validation, validate_batch
from tests.train.tiny import Built, build, random_batch, random_state

EQUIMOD = {"name": "equimod", "hidden": 6, "embedding": 4, "parameters": 3}
SIMCLR = {"name": "simclr", "hidden": 6, "embedding": 4}
MOCO = {"name": "moco", "hidden": 6, "embedding": 4, "queue": 9}
VARIED = {
    "augment.area": (0.3, 1.0),
    "augment.flip": 0.5,
    "augment.jitter": 0.8,
    "augment.later": {"solarize": 0.5},
}
NAMES = ("", "_crop", "_flip", "_jitter", "_solarize")
MASKS = [np.array([True, False, True, True]), np.array([True, True, False, False])]


@pytest.fixture
def make(tiny_config) -> Callable[..., Built]:
    def make(base: dict, **lens: object) -> Built:
        options = {"lens.kind": "none", "lens.objective": "full"}
        options |= {f"lens.{name}": value for name, value in lens.items()}
        return build(tiny_config(VARIED | options, EQUIMOD | {"base": base}))

    return make


def batches() -> list[dict[str, np.ndarray]]:
    found = []
    for number, mask in enumerate(MASKS):
        found.append(random_batch(4, seed=number) | {"mask": mask})
    return found


def positive(state):
    stats = jax.tree.map(jnp.abs, state.batch_stats)
    return state.replace(batch_stats=stats)


def expected_numbers(built: Built, state, seed: int, lensed: bool = False) -> dict[str, float]:
    """The means over the images that count, with augmentations that are drawn and applied here."""
    system = built.system
    trials = {"": system.augmentations} | {
        f"_{name}": views for name, views in alone(system.augmentations).items()
    }
    stats = state.batch_stats["lensed"] if system.lens.split else state.batch_stats
    found = {}
    for suffix, augmentations in trials.items():
        rows = []
        for number, batch in enumerate(batches()):
            key = make_key(seed, number, Purpose.VALIDATION)

            def augment(images, view=0, size=0, key=key, augmentations=augmentations):
                drawn = augmentations[view].draw(jax.random.fold_in(key, view), 4, 16, 16)
                applied = augmentations[view].apply(images, drawn, size)
                return Augmented(applied, drawn.vector())

            images = color.to_unit(jnp.asarray(batch["image"]))
            views = system.task.views(key, batch | {"image": images}, augment)
            inputs = views.inputs
            if lensed:
                inputs = system.lens_network.apply({"params": state.lens_params}, inputs)

            seen = jnp.array(system.task.online_views)
            by_image = inputs.reshape(4, 3, *inputs.shape[1:])[:, seen]
            context = views.context.reshape(4, 3, -1)[:, seen]
            outputs = system.network.apply(
                {"params": state.params, "batch_stats": stats},
                by_image.reshape(-1, *inputs.shape[1:]),
                context.reshape(-1, context.shape[-1]),
                train=False,
            )
            numbers = system.task.validate(Outputs(outputs))
            rows.append({name: values[batch["mask"]] for name, values in numbers.items()})
        for name in rows[0]:
            joined = np.concatenate([row[name] for row in rows])
            found[f"test_{name}{suffix}"] = float(np.mean(joined))
    return found


@pytest.mark.parametrize(
    ("base", "lens"),
    [
        (SIMCLR, {}),
        (MOCO, {}),
        (SIMCLR, {"kind": "network", "raw_fraction": 0.0}),
        (SIMCLR, {"kind": "network", "raw_fraction": 1.0, "batch_norm": "joint"}),
    ],
    ids=["simclr", "moco", "lensed", "raw beside lensed"],
)
def test_numbers_are_the_means_over_test_images_for_each_way_to_make_views(
    make, base: dict, lens: dict
):
    built = make(base, **lens)
    state = positive(random_state(built))
    validation = Validation(built.system, 5, mesh.make_mesh(), batches)
    validation.compile(state)
    found = validation.measure(state)
    assert found.keys() == {
        f"test_{kind}_equivariance{name}" for kind in ("absolute", "relative") for name in NAMES
    }
    lensed = lens.get("raw_fraction") == 0.0
    expected = expected_numbers(built, state, 5, lensed)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    # Another pass draws the same, and each way to make views is another one.
    assert validation.measure(state) == found
    assert len({round(value, 5) for value in found.values()}) == len(found)


def test_every_batch_draws_anew(make):
    built = make(SIMCLR)
    state = positive(random_state(built))
    trials = (built.system.augmentations,)
    validate = jax.jit(partial(validate_batch, built.system, trials, 5))
    one, count = validate(state, batches()[0], 0, 0)
    other, _ = validate(state, batches()[0], 1, 0)
    assert count == 3
    assert one["absolute_equivariance"] != other["absolute_equivariance"]


def test_without_an_image_that_counts_there_are_no_numbers(make):
    built = make(SIMCLR)
    state = positive(random_state(built))

    def no_images() -> list[dict[str, np.ndarray]]:
        return [batches()[0] | {"mask": np.zeros(4, bool)}]

    validation = Validation(built.system, 5, mesh.make_mesh(), no_images)
    validation.compile(state)
    assert validation.measure(state) == {}
