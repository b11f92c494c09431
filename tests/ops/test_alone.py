"""The operations of an augmentation one by one."""

import dataclasses

import jax
import numpy as np
import pytest

from lens_jax.ops.alone import alone, union
from lens_jax.ops.augment import Augmentation

BYOL = (
    Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, hue=0.2, gray=0.2, blur=1.0),
    Augmentation(area=(0.3, 1.0), flip=0.5, jitter=0.8, hue=0.2, gray=0.2, blur=0.1, solarize=0.2),
)


def test_each_operation_is_done_to_all_images_without_the_others():
    found = alone(BYOL)
    assert list(found) == ["crop", "flip", "jitter", "gray", "blur", "solarize"]
    off = {"area": (1.0, 1.0)} | dict.fromkeys(("flip", "jitter", "gray", "blur", "solarize"), 0.0)
    for name, views in found.items():
        on = {"area": (0.2, 1.0)} if name == "crop" else {name: 1.0}
        # Each view keeps its strengths.
        assert views == tuple(dataclasses.replace(view, **off | on) for view in BYOL)


@pytest.mark.parametrize(
    ("settings", "operations"),
    [
        ({}, []),
        ({"flip": 0.5}, ["flip"]),
        ({"area": (0.5, 0.9), "solarize": 0.1}, ["crop", "solarize"]),
        # What all images have is no difference between them, unless it has a strength.
        ({"flip": 1.0, "gray": 1.0, "solarize": 1.0, "jitter": 1.0}, ["jitter"]),
        ({"blur": 1.0}, ["blur"]),
    ],
)
def test_only_what_varies_is_an_operation(settings: dict, operations: list[str]):
    assert list(alone([Augmentation(**settings)])) == operations


def test_what_all_views_have_stays():
    (found,) = alone([Augmentation(gray=1.0, flip=0.5, jitter=1.0)])["flip"]
    assert (found.gray, found.flip, found.jitter) == (1, 1, 0)


def test_gray_in_one_of_the_views_is_a_difference():
    gray, colored = Augmentation(gray=1.0, flip=0.5), Augmentation(flip=0.5)
    assert list(alone([gray, colored])) == ["flip", "gray"]
    assert [view.gray for view in alone([gray, colored])["flip"]] == [0, 0]


def test_the_union_applies_what_each_has_drawn():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    several = [BYOL[1], *(views[1] for views in alone(BYOL).values())]
    together = union(several)
    for each in several:
        drawn = each.draw(jax.random.key(0), 4, 8, 8)
        found, expected = together.apply(images, drawn), each.apply(images, drawn)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(expected - images).max() > 0.1
