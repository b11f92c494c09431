from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.tasks.base import Outputs
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from tests.tasks.samples import located_batch, unchanged

TASK = RelativePatchLocation(cell=4, patch=2, embedding=6, hidden=8)
DIRECTIONS = [[-1, -1], [-1, 0], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 0], [1, 1]]


@pytest.mark.parametrize("augment", [unchanged, None])
def test_whoever_knows_the_positions_of_the_patches_solves_the_task(augment):
    make_views = jax.jit(partial(TASK.views, augment=augment))
    views = jax.device_get(make_views(jax.random.key(0), located_batch(5)))
    corners = views.inputs[:, 0, 0].astype(int).reshape(5, 9, 3)
    assert len(views.inputs) == 45
    assert len(views.labels) == 40

    logits = []
    for image, pairs in enumerate(views.context):
        for pair in pairs:
            center, neighbor = corners[image, pair]
            assert center[2] == neighbor[2] == image
            center_cell, neighbor_cell = center[:2] // 4, neighbor[:2] // 4
            assert center_cell.tolist() == [1, 1]
            answer = DIRECTIONS.index((neighbor_cell - center_cell).tolist())
            logits.append(100 * np.eye(8)[answer])

    outputs = Outputs(jnp.asarray(logits, jnp.float32))
    loss = TASK.loss(outputs, views.labels, None)
    assert loss.metrics["accuracy"] == 1
    assert loss.value < 1e-6
    assert TASK.hits(outputs, views.labels).all()
    assert TASK.loss(outputs, views.labels, ()).logits is outputs.online


def test_every_image_shows_each_neighbor_once():
    views = TASK.views(jax.random.key(0), located_batch(3), unchanged)
    assert views.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7] * 3
    pairs = [[4, 0], [4, 1], [4, 2], [4, 3], [4, 5], [4, 6], [4, 7], [4, 8]]
    assert views.context.tolist() == [pairs] * 3


def test_the_head_has_eight_logits_for_each_pair():
    views = TASK.views(jax.random.key(0), located_batch(3), unchanged)
    features = views.inputs.reshape(27, -1)
    head = TASK.head(jnp.float32)
    start = jax.jit(partial(head.init_with_output, train=False))
    logits, variables = start(jax.random.key(0), features, views.context)
    assert logits.shape == (24, 8)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["Dense_0"]["kernel"] == (12, 6)
    assert shapes["ArrangedDense_0"]["kernel"] == (2, 6, 8)
    assert shapes["Dense_1"]["kernel"] == (8, 8)
    assert head.dropout == 0.5


def test_the_defaults_are_the_published_sizes():
    assert RelativePatchLocation() == RelativePatchLocation(85, 64, True, 1000, 4096, 0.5)
    assert RelativePatchLocation().has_logits
