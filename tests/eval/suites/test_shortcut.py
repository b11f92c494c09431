"""Reliance on shortcuts: of features that cannot change, and of ones that can."""

import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.eval.suites.shortcut import PLANTED, Shortcut, relative_distance

RNG = np.random.default_rng(0)


def test_the_distance_is_0_of_no_change_and_1_of_another_image():
    features = RNG.normal(size=(400, 6)).astype(np.float32) + 1
    assert relative_distance(features, features) == 0
    another = RNG.permutation(features)
    assert relative_distance(features, another) == pytest.approx(1, abs=0.1)
    # A change of length is no change of direction.
    assert relative_distance(features, 3 * features) == pytest.approx(0, abs=1e-6)


def test_the_distance_is_that_of_loops():
    features, changed = RNG.normal(size=(2, 5, 3))

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return 1 - first @ second / (np.linalg.norm(first) * np.linalg.norm(second))

    moved = [distance(features[i], changed[i]) for i in range(5)]
    apart = [distance(features[i], features[j]) for i in range(5) for j in range(5) if i != j]
    expected = np.mean(moved) / np.mean(apart)
    assert relative_distance(features, changed) == pytest.approx(expected)


def test_a_constant_network_relies_on_nothing(make_subject, constant):
    numbers = Shortcut(shortcuts=("arrow", "tint")).measure(make_subject(constant))
    assert numbers["distance/arrow"] == numbers["distance/tint"] == 0
    # Rotations are told by chance, and so are three classes.
    for name in ("none", "arrow", "tint"):
        assert numbers[f"accuracy/{name}"] == pytest.approx(1 / 3)
        assert numbers[f"pretext_accuracy/{name}"] == pytest.approx(1 / 4)


def test_a_drawn_network_is_moved_and_a_table_says_by_what(make_subject):
    suite = Shortcut()
    subject = make_subject()
    suite.check(subject)
    numbers = suite.measure(subject)
    assert next(iter(numbers)) == "distance/arrow"
    for name in PLANTED:
        assert numbers[f"distance/{name}"] > 0
    assert numbers["accuracy/none"] > 0.9
    (table,) = suite.tell(numbers)
    assert "<th>pretext accuracy</th>" in table
    assert table.count("<tr>") == 2 + len(PLANTED)


def test_an_unknown_shortcut_is_refused(make_subject):
    with pytest.raises(UserError, match="unknown shortcut of suite 'shortcut' 'none'"):
        Shortcut(shortcuts=("none",)).check(make_subject())
