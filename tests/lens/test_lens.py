import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lens_jax.defaults import DEFAULTS
from lens_jax.errors import UserError
from lens_jax.lens.lens import Lens
from lens_jax.lens.objectives import OBJECTIVES
from lens_jax.lens.unet import UNet

KINDS = ("network", "none", "random", "fgsm", "pgd")


@pytest.fixture
def make() -> Callable[..., Lens]:
    """Makes the default lens with some settings changed."""

    def make_lens(**settings: Any) -> Lens:
        return Lens(**DEFAULTS["lens"] | settings)

    return make_lens


def test_the_section_of_the_config_has_the_settings_of_the_lens_and_no_others():
    assert {field.name for field in dataclasses.fields(Lens)} == DEFAULTS["lens"].keys()


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("kind", "unet", ", ".join(KINDS)),
        ("acts_on", "crops", "views, images"),
        ("objective", "worst", "full, least_likely, confusion, reconstruction"),
        ("budget", "fixed", "penalty, target, bound"),
        ("batch_norm", "apart", "joint, split"),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(make, name: str, value: str, legal: str):
    with pytest.raises(UserError, match=f"unknown .* '{value}': choose one of {legal}$"):
        make(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("lambda_", -1.0, "0", "inf"),
        ("lambda_", float("nan"), "0", "inf"),
        ("target", 0.0, "1e-09", "inf"),
        ("target", -0.01, "1e-09", "inf"),
        ("epsilon", 0.0, "1e-09", "inf"),
        ("epsilon", float("nan"), "1e-09", "inf"),
        ("attack_steps", 0, "1", "inf"),
        ("update_every", 0, "1", "inf"),
        ("update_every", -3, "1", "inf"),
        ("lensed_fraction", -0.5, "0", "1"),
        ("lensed_fraction", 1.01, "0", "1"),
        ("raw_fraction", -0.1, "0", "1"),
        ("raw_fraction", 1.5, "0", "1"),
        ("raw_fraction", float("nan"), "0", "1"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(
    make, name: str, value: float, low: str, high: str
):
    words = f"lens.{name} is {value}: it must lie between {low} and {high}"
    with pytest.raises(UserError, match=f"^{re.escape(words)}$"):
        make(**{name: value})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lensed_fraction": 0.0}, "lens.lensed_fraction is 0, .* lens.kind=none"),
        ({"batch_norm": "split", "raw_fraction": 0.0}, "'split' needs raw inputs: .*raw_fraction"),
        (
            {"kind": "fgsm", "objective": "reconstruction"},
            "'fgsm' needs .* not 'reconstruction': choose one of full, least_likely, confusion$",
        ),
        ({"kind": "pgd", "objective": "reconstruction"}, "'pgd' needs .* not 'reconstruction'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(
    make, settings: dict[str, Any], words: str
):
    with pytest.raises(UserError, match=words) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_what_only_together_is_refused_is_legal_apart(make):
    make(batch_norm="split", raw_fraction=0.5)
    make(batch_norm="joint", raw_fraction=0.0)
    make(kind="network", objective="reconstruction")
    make(kind="random", objective="reconstruction")
    make(kind="pgd", objective="confusion")


@pytest.mark.parametrize(
    ("settings", "kinds", "split"),
    [
        ({}, ("lensed", "raw"), False),
        ({"batch_norm": "split"}, ("lensed", "raw"), True),
        ({"raw_fraction": 0.0}, ("lensed",), False),
        ({"kind": "pgd"}, ("lensed", "raw"), False),
        ({"kind": "random", "batch_norm": "split"}, ("lensed", "raw"), True),
        # Without a lens there is nothing to keep apart, whatever the other settings say.
        ({"kind": "none"}, ("raw",), False),
        ({"kind": "none", "batch_norm": "split", "raw_fraction": 0.5}, ("raw",), False),
        ({"kind": "none", "raw_fraction": 0.0}, ("raw",), False),
    ],
)
def test_the_kinds_of_inputs_and_whether_their_statistics_are_split(
    make, settings: dict[str, Any], kinds: tuple[str, ...], split: bool
):
    lens = make(**settings)
    assert lens.kinds == kinds
    assert lens.split == split


@pytest.mark.parametrize(
    ("lensed_fraction", "raw_fraction", "images", "lensed", "raw"),
    [
        (1.0, 1.0, 4, (0, 4), (0, 4)),
        (0.5, 0.5, 4, (0, 2), (2, 4)),
        (1.0, 0.5, 4, (0, 4), (2, 4)),
        (0.25, 0.75, 8, (0, 2), (2, 8)),
        (0.3, 0.3, 10, (0, 3), (7, 10)),
        (1.0, 0.0, 4, (0, 4), None),
        (1.0, 0.1, 4, (0, 4), None),  # a tenth of four images is none
        (0.01, 1.0, 4, (0, 1), (0, 4)),  # but one image is always lensed
        (1.0, 1.0, 1, (0, 1), (0, 1)),
    ],
)
def test_the_first_images_are_lensed_and_the_last_raw(
    make, lensed_fraction, raw_fraction, images, lensed, raw
):
    lens = make(lensed_fraction=lensed_fraction, raw_fraction=raw_fraction)
    expected = {"lensed": slice(*lensed)}
    if raw is not None:
        expected["raw"] = slice(*raw)
    assert lens.rows(images) == expected


def test_without_a_lens_every_image_is_raw(make):
    assert make(kind="none", lensed_fraction=0.5, raw_fraction=0.25).rows(4) == {"raw": slice(0, 4)}


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_lens_itself_is_a_network_that_trains(make, kind: str):
    lens = make(kind=kind)
    assert lens.trains == (kind == "network")
    assert (lens.make_network(jnp.float32, remat=False) is not None) == lens.trains


def test_the_network_is_the_one_that_the_settings_describe(make):
    settings = {"widths": (8, 16), "blocks": 2, "patch": 1, "epsilon": 0.1}
    network = make(**settings).make_network(jnp.bfloat16, remat=True)
    assert network == UNet((8, 16), 2, 1, jnp.bfloat16, epsilon=None, remat=True)
    bounded = make(**settings, budget="bound").make_network(jnp.bfloat16, remat=False)
    assert bounded == UNet((8, 16), 2, 1, jnp.bfloat16, epsilon=0.1, remat=False)


@pytest.mark.parametrize("kind", ["network", "fgsm", "pgd"])
def test_an_objective_over_classes_is_refused_for_a_task_without(make, kind: str):
    for name in ("full", "least_likely", "confusion"):
        assert make(kind=kind, objective=name).make_objective(has_logits=True) is OBJECTIVES[name]
    assert make(kind=kind, objective="full").make_objective(False) is OBJECTIVES["full"]
    for name in ("least_likely", "confusion"):
        with pytest.raises(UserError, match=f"objective '{name}' needs a task that chooses"):
            make(kind=kind, objective=name).make_objective(has_logits=False)


@pytest.mark.parametrize("kind", ["none", "random"])
def test_where_nothing_is_minimized_there_is_no_objective_to_refuse(make, kind: str):
    lens = make(kind=kind, objective="least_likely")
    assert lens.make_objective(has_logits=True) is None
    assert lens.make_objective(has_logits=False) is None


@pytest.mark.parametrize(
    ("budget", "first", "change", "after"),
    [
        ("penalty", 50.0, 5.0, 50.0),
        ("bound", 0.0, 5.0, 0.0),
        ("target", 50.0, 0.01, 50.0),  # on target
        ("target", 50.0, 5.0, 50 * 1.0202013400267558),  # far above it: exp(0.02)
        ("target", 50.0, 0.0, 50 / 1.0202013400267558),
    ],
)
def test_the_penalty_is_fixed_or_none_or_steered(
    x64, make, budget: str, first: float, change: float, after: float
):
    lens = make(budget=budget, lambda_=50.0, target=0.01)
    penalty = lens.first_penalty()
    assert penalty == first
    found = jax.jit(lens.next_penalty)(jnp.float64(penalty), jnp.float64(change))
    assert float(found) == pytest.approx(after, rel=1e-12)
