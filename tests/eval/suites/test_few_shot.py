"""Few labeled images a class: which are drawn, and what is learned from features of known use."""

import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.eval.suites.few_shot import FewShot, classify, draw_shots, standard_error

RNG = np.random.default_rng(0)


def test_so_many_images_of_each_class_are_drawn_and_more_hold_fewer():
    labels = RNG.integers(0, 4, 200)
    one = draw_shots(labels, 1, draw=3)
    five = draw_shots(labels, 5, draw=3)
    assert sorted(labels[one]) == [0, 1, 2, 3]
    assert np.bincount(labels[five]).tolist() == [5] * 4
    assert set(one) < set(five)
    assert len(set(five)) == 20
    assert set(draw_shots(labels, 5, draw=4)) != set(five)
    # By no order of the data: the first images are no more likely than the last.
    means = [draw_shots(labels, 5, draw).mean() for draw in range(100)]
    assert np.mean(means) == pytest.approx(99.5, abs=8)


def test_a_class_with_too_few_images_gives_all_it_has():
    labels = np.array([0, 1, 1, 1, 0, 1])
    assert sorted(draw_shots(labels, 3, draw=0).tolist())[0] == 0
    assert np.bincount(labels[draw_shots(labels, 3, draw=0)]).tolist() == [2, 3]


def test_classes_that_lie_apart_are_learned_from_one_image_and_constant_features_are_chance():
    centers = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9]])
    labels = np.arange(300) % 3
    rows = (centers[labels] + RNG.normal(size=(300, 3))).astype(np.float32)
    one = draw_shots(labels, 1, draw=0)
    assert np.mean(classify(rows[one], labels[one], rows, 10.0) == labels) > 0.98
    same = np.full((300, 3), 2, np.float32)
    assert np.mean(classify(same[one], labels[one], same, 10.0) == labels) == pytest.approx(1 / 3)


def test_a_common_offset_and_scale_of_all_features_change_nothing():
    labels = np.arange(90) % 3
    rows = (np.eye(5)[labels] + RNG.normal(size=(90, 5))).astype(np.float32)
    one = draw_shots(labels, 5, draw=0)
    found = classify(rows[one], labels[one], rows, 10.0)
    moved = 8 * rows + 2
    again = classify(moved[one], labels[one], moved, 10.0)
    assert np.mean(found == again) > 0.97


def test_the_standard_error_is_that_of_the_mean():
    assert standard_error([0.5, 0.7, 0.9]) == pytest.approx(0.2 / np.sqrt(3))
    assert standard_error([0.5]) == 0


def test_a_drawn_network_tells_colors_and_a_constant_one_is_at_chance(make_subject, constant):
    suite = FewShot(shots=(1, 5), draws=3)
    subject = make_subject()
    suite.check(subject)
    numbers = suite.measure(subject)
    assert list(numbers) == ["accuracy/1", "accuracy/5", "standard_error/1", "standard_error/5"]
    assert numbers["accuracy/5"] > 0.9

    numbers = suite.measure(make_subject(constant))
    assert numbers["accuracy/1"] == numbers["accuracy/5"] == pytest.approx(1 / 3)
    assert numbers["standard_error/1"] == 0
    (table,) = suite.tell(numbers)
    assert "<td>5</td><td>33.33%</td><td>0.00%</td>" in table


def test_more_shots_than_there_are_images_are_refused(make_subject):
    with pytest.raises(UserError, match="is 11: it must lie between 1 and 10"):
        FewShot(shots=(11,)).check(make_subject())
