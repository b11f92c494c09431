"""A training on a folder of red, green and blue images, and what is watched of it."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.errors import UserError
from lens_jax.eval.frozen import load
from lens_jax.train import watch
from lens_jax.train.loop import train
from lens_jax.train.monitors import compute_features, describe_features
from lens_jax.workdir.metrics import read_metrics
from tests.conftest import COLORS

OF_FEATURES = {"feature_std", "rankme", "alpha_req", "monitor_seconds"}
OF_CLASSES = {"knn_accuracy", "probe_test_accuracy"}
OF_EQUIMOD = {
    f"test_{kind}_equivariance{operation}"
    for kind in ("absolute", "relative")
    for operation in ("", "_flip", "_gray")
}
OF_STEPS = {"embedding_std", "embedding_rank", "embedding_size", "uniformity"}


def pixels(index: int) -> np.ndarray:
    """One of 30 images, 16 px, of the color of its class."""
    noise = np.random.default_rng(index).integers(-25, 26, (16, 16, 3))
    return (COLORS[index % 3] + noise).astype(np.uint8)


def write(path: pathlib.Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png.encode(pixels(index)))


@pytest.fixture
def labeled(tmp_path) -> pathlib.Path:
    folder = tmp_path / "labeled"
    for index in range(30):
        split = "test" if index >= 21 else "train"
        write(folder / split / "rgb"[index % 3] / f"{index:02}.png", index)
    return folder


@pytest.fixture
def unlabeled(tmp_path) -> pathlib.Path:
    folder = tmp_path / "unlabeled"
    for index in range(30):
        write(folder / f"{index:02}.png", index)
    return folder


@pytest.fixture
def run(tiny_config, tmp_path) -> Callable[..., list[dict[str, float]]]:
    """Trains four steps, with a checkpoint after each two, and gives the rows of the metrics."""

    def run(
        folder: pathlib.Path, task: dict | None = None, **overrides: object
    ) -> list[dict[str, float]]:
        settings = {
            "train.monitors": True,
            "train.duration": "4 steps",
            "train.log_every": "1 steps",
            "train.checkpoint_every": "2 steps",
            "data.name": "image_folder",
            "data.dir": str(folder),
            "data.eval_split": "",
            "data.max_skipped": 0.5,
            "lens.kind": "none",
        }
        config = tiny_config(settings | overrides, task)
        train(config, str(tmp_path / "run"))
        return read_metrics(str(tmp_path / "run"))

    return run


def test_features_are_watched_at_checkpoints_and_embeddings_at_every_step(run, labeled, tmp_path):
    rows = run(labeled)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row.keys() >= OF_STEPS | {"probe_accuracy"}
        is_saved = row["step"] % 2 == 0
        assert bool(row.keys() & (OF_FEATURES | OF_CLASSES)) == is_saved
    last = rows[-1]
    assert last.keys() >= OF_FEATURES | OF_CLASSES
    assert 0 < last["monitor_seconds"] < last["seconds"]
    # A color can be told from its neighbors without any training.
    assert last["knn_accuracy"] == 1

    # The same images, one by one, in the network of the last checkpoint.
    frozen = load(str(tmp_path / "run"))
    train_images = np.stack([pixels(index) for index in range(21)])
    features = compute_features(frozen.system, frozen.state, train_images)
    for name, value in describe_features(features).items():
        np.testing.assert_allclose(last[name], value, rtol=1e-2, err_msg=name)


def test_without_labels_a_line_says_what_is_left_out(run, unlabeled, capsys):
    rows = run(unlabeled)
    (line,) = notes(capsys)
    assert line == (
        "monitors: 'image_folder' has no classes, so that there is no online probe and no "
        "neighbors; embeddings and features are watched all the same"
    )
    assert rows[-1].keys() >= OF_STEPS | OF_FEATURES
    assert not rows[-1].keys() & (OF_CLASSES | {"probe_accuracy"})


def notes(capsys) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("monitors: ")]


def test_without_a_split_to_test_on_a_line_says_why(run, labeled, capsys):
    rows = run(labeled, **{"data.eval_split": "nowhere"})
    (line,) = notes(capsys)
    assert line.startswith("monitors: no test images for online probe and neighbors: ")
    assert "'nowhere'" in line
    assert rows[-1].keys() >= OF_FEATURES | {"probe_accuracy"}
    assert not rows[-1].keys() & OF_CLASSES


@pytest.mark.parametrize("has_labels", [True, False], ids=["labeled", "unlabeled"])
def test_a_task_is_validated_on_test_images_with_and_without_labels(
    run, labeled, unlabeled, has_labels: bool
):
    widths = {"hidden": 6, "embedding": 4}
    task = {"name": "equimod", "base": {"name": "simclr", **widths}, **widths}
    varied = {"augment.flip": 0.5, "augment.gray": 0.3, "lens.objective": "full"}
    folder, split = (labeled, "test") if has_labels else (unlabeled, "train")
    rows = run(folder, task, **varied, **{"data.eval_split": split})
    for row in rows:
        is_saved = row["step"] % 2 == 0
        assert (row.keys() & OF_EQUIMOD) == (OF_EQUIMOD if is_saved else set())
        assert row.keys() >= {"absolute_equivariance_raw", "relative_equivariance_raw"}
    assert bool(rows[-1].keys() & OF_CLASSES) == has_labels


def test_images_that_do_not_decode_are_left_out(run, labeled):
    for path in ("train/r/00.png", "test/b/23.png"):
        (labeled / path).write_bytes(b"no image")
    last = run(labeled)[-1]
    assert last["knn_accuracy"] == 1
    assert np.isfinite(last["rankme"])


def test_with_monitors_off_nothing_is_watched(run, labeled, capsys):
    rows = run(labeled, **{"train.monitors": False})
    assert not rows[-1].keys() & (OF_STEPS | OF_FEATURES | OF_CLASSES | {"probe_accuracy"})
    assert notes(capsys) == []


@pytest.mark.parametrize(("trained", "expected"), [(4, 768), (40_000, 1000), (1_281_167, 24576)])
def test_few_images_are_watched_for_many_that_are_trained_on(trained: int, expected: int):
    assert watch.count_images(trained) == expected


def test_another_word_for_a_collapse_is_refused(run, labeled):
    with pytest.raises(UserError, match=r"train\.on_collapse 'end': choose one of warn, stop"):
        run(labeled, **{"train.on_collapse": "end"})
