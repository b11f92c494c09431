"""Real trainings on boxes and on pairs: they are what the config says, and go on exactly."""

import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax.errors import UserError
from lens_jax.train.loop import train
from lens_jax.workdir.arrays import read_newest_arrays
from tests.data import boxed

IMAGES = [
    [(0, 0, 5, 5, "cat"), (2, 1, 10, 9, "dog")],
    [],
    [(4, 4, 4, 9, "cup"), (5, 0, 10, 10, "dog")],
    [(0, 5, 10, 10, "cup"), (0, 0, 10, 5, "cat")],
]
HEAD = {"size": 0, "hidden": 8, "embedding": 4}
TASKS = {
    "simclr": HEAD | {"name": "simclr"},
    "moco": HEAD | {"name": "moco", "queue": 16, "momentum": 0.9},
    "barlow_twins": HEAD | {"name": "barlow_twins"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("tfds")
    boxed.write_coco(folder, IMAGES)
    boxed.write_videos(folder, tracked=True, name="film")
    boxed.write_videos(folder, tracked=False, name="clip")
    return folder


def make_config(tiny_config, folder: pathlib.Path, task: str, steps: int, **data) -> ConfigDict:
    overrides = {
        "data.dir": str(folder),
        "data.train_split": "train",
        "data.eval_split": "train",
        "augment.area": (0.3, 1.0),
        "lens.kind": "none",
        "lens.objective": "full",
        "optimizer.schedule": "constant",
        "train.duration": f"{steps} steps",
        "train.log_every": "1 steps",
    }
    overrides |= {f"data.{key}": value for key, value in data.items()}
    return tiny_config(overrides, TASKS[task])


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("moco", {"name": "tfds:zoo", "boxes": "each"}),
        ("moco", {"name": "tfds:film", "pairs": "both", "pair_distance": 2}),
    ],
)
def test_a_training_that_goes_on_is_the_one_that_was_not_ended(
    task: str, data: dict, folder, tmp_path, tiny_config
):
    whole = str(tmp_path / "whole")
    train(make_config(tiny_config, folder, task, 4, **data), whole)
    parts = str(tmp_path / "parts")
    for steps in (2, 4):
        train(make_config(tiny_config, folder, task, steps, **data), parts)
    (step, expected), (same, found) = (read_newest_arrays(path) for path in (whole, parts))
    assert step == same == 4
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("simclr", {"name": "tfds:zoo", "boxes": "largest", "batch_size": 2}),
        ("simclr", {"name": "tfds:clip", "pairs": "frames"}),
        ("barlow_twins", {"name": "tfds:clip", "pairs": "regions"}),
    ],
)
def test_a_step_on_boxes_and_on_pairs(task: str, data: dict, folder, tmp_path, tiny_config, capsys):
    train(make_config(tiny_config, folder, task, 1, **data), str(tmp_path))
    printed = capsys.readouterr().out
    assert "trained to step 1" in printed
    assert "left out: " in printed


def test_pairs_of_other_frames_train_another_network(folder, tmp_path, tiny_config):
    parameters = []
    for distance in (1, 2):
        workdir = str(tmp_path / str(distance))
        data = {"name": "tfds:clip", "pairs": "frames", "pair_distance": distance}
        train(make_config(tiny_config, folder, "simclr", 2, **data), workdir)
        _, arrays = read_newest_arrays(workdir)
        parameters.append(jax.tree.leaves(arrays["params"]))
    assert any((one != other).any() for one, other in zip(*parameters, strict=True))


def test_videos_that_are_too_short_end_it_before_anything_is_written(folder, tmp_path, tiny_config):
    data = {"name": "tfds:clip", "pairs": "frames", "pair_distance": 9}
    with pytest.raises(UserError, match="9 frames apart"):
        train(make_config(tiny_config, folder, "simclr", 1, **data), str(tmp_path))
    assert list(tmp_path.iterdir()) == []
