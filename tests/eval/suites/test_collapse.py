"""How features are spread: those that have collapsed, and those that fill all directions."""

import dataclasses

import numpy as np
import pytest

from lens_jax.data.records import UNLABELED
from lens_jax.eval import geometry
from lens_jax.eval.geometry import describe_spread
from lens_jax.eval.suites.collapse import Collapse


def test_features_of_all_directions_are_told_from_ones_of_a_line_and_of_a_point():
    rng = np.random.default_rng(0)
    all_directions = rng.normal(size=(500, 16)).astype(np.float32)
    line = np.outer(np.arange(1, 501), rng.normal(size=16)).astype(np.float32)
    spread = describe_spread(all_directions)
    assert spread["rankme"] == pytest.approx(16, abs=0.3)
    assert spread["standard_deviation"] == pytest.approx(1, abs=0.02)
    assert spread["uniformity"] < -3
    assert spread["size"] == 16

    collapsed = describe_spread(line)
    assert collapsed["rankme"] == pytest.approx(1, abs=0.01)
    assert collapsed["standard_deviation"] == pytest.approx(0, abs=1e-3)
    assert collapsed["uniformity"] == pytest.approx(0, abs=1e-3)


def test_uniformity_is_of_evenly_spaced_rows_alone(monkeypatch):
    """Rows 0, 2, 4, ... are alike, and the others are not."""
    monkeypatch.setattr(geometry, "UNIFORMITY_IMAGES", 5)
    rows = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    rows[::2] = rows[0]
    assert describe_spread(rows)["uniformity"] == pytest.approx(0, abs=1e-5)


def test_a_constant_network_has_collapsed_and_knows_no_color(make_subject, constant):
    numbers = Collapse().measure(make_subject(constant))
    assert next(iter(numbers)) == "rankme"
    assert numbers["standard_deviation"] == pytest.approx(0, abs=1e-6)
    assert abs(numbers["color_r2"]) < 0.1


def test_images_without_labels_are_measured_and_a_drawn_network_has_their_color(make_subject):
    subject = make_subject()
    splits = {}
    for name in ("train", "test"):
        source = getattr(subject, name)
        splits[name] = dataclasses.replace(source, class_names=(UNLABELED,))
    subject = subject._replace(**splits)
    suite = Collapse()
    suite.check(subject)
    numbers = suite.measure(subject)
    assert numbers["color_r2"] > 0.5
    assert numbers["rankme"] > 1
