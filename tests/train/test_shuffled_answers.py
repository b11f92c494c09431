"""Shuffled answers: whether nothing is left to learn, and all else is as it was."""

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.tasks.base import Views, join_views, split_views
from lens_jax.tasks.rotation import Rotation
from lens_jax.train.system import shuffle_answers
from tests.tasks.samples import random_batch, unchanged


def test_labels_go_to_other_views_and_the_views_stay():
    batch = random_batch(50)
    views = Rotation().views(jax.random.key(0), batch, unchanged)
    shuffled = shuffle_answers(jax.random.key(1), views, 50)
    np.testing.assert_array_equal(shuffled.inputs, views.inputs)
    np.testing.assert_array_equal(np.bincount(shuffled.labels), np.bincount(views.labels))
    # Of 200 labels in four classes, luck keeps about a quarter.
    assert 0.1 < np.mean(shuffled.labels == views.labels) < 0.4
    other = shuffle_answers(jax.random.key(2), views, 50)
    assert np.any(other.labels != shuffled.labels)


def test_labels_that_are_not_on_a_device_are_shuffled_in_a_traced_step():
    views = Views(np.zeros((4, 2, 2, 3)), np.arange(4))
    order = jax.jit(lambda key: shuffle_answers(key, views, 4).labels)(jax.random.key(1))
    np.testing.assert_array_equal(np.sort(order), np.arange(4))


def test_without_labels_the_views_to_be_found_are_those_of_others():
    first = jnp.arange(40.0).reshape(40, 1, 1, 1)
    views = Views(join_views(first, first))
    shuffled = shuffle_answers(jax.random.key(0), views, 40)
    same, partner = split_views(shuffled.inputs, 2)
    np.testing.assert_array_equal(same, first)
    np.testing.assert_array_equal(np.sort(partner, axis=0), first)
    assert np.mean(partner == first) < 0.2
