import contextlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax import config as configs
from lens_jax.data.builders import png
from lens_jax.ops.shortcuts import inject
from lens_jax.pages import page
from lens_jax.report import measure, sections
from lens_jax.report.measure import measure_lens
from lens_jax.report.runs import TrainedRun
from lens_jax.tasks.base import DataFacts
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import init_state
from lens_jax.train.system import make_system
from lens_jax.workdir import checkpoints

JIGSAW = {
    "name": "jigsaw",
    "cell": 5,
    "patch": 4,
    "jitter": True,
    "embedding": 4,
    "hidden": 4,
    "dropout": 0.0,
    "permutations": 2,
    "drawn": 1,
}


@pytest.fixture
def images(tmp_path) -> np.ndarray:
    """Three images, [3, 16, 16, 3], that are also files in the split "test" of a folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    folder = tmp_path / "images" / "test"
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        (folder / f"{index}.png").write_bytes(png.encode(image))
    return pixels


@pytest.fixture
def trained(tiny_config, tmp_path) -> Callable[[dict | None], TrainedRun]:
    """Makes a run with a checkpoint whose lens adds a quarter to every red pixel."""

    def make(task: dict | None) -> TrainedRun:
        settings = {
            "data.name": "image_folder",
            "data.dir": str(tmp_path / "images"),
            "data.eval_split": "",
            "lens.patch": 1,
            "model.stem": "cifar",
            "shortcut": "arrow",
        }
        config = tiny_config(settings, task)

        # All parameters are zero, but for the bias of the lens's last convolution.
        system = make_system(config, DataFacts(1, 100), 100)
        both = extractor_optimizer(config, Clock(4, 8, 8)), lens_optimizer(config)
        shapes = jax.eval_shape(lambda: init_state(config, system, *both))
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        convolutions = state.lens_params.values()
        (last,) = (each for each in convolutions if each["bias"].shape == (3,))
        last["bias"] = jnp.array([0.25, 0.0, 0.0])

        workdir = str(tmp_path / "run")
        record = {
            "class_names": ["unlabeled"],
            "config": configs.to_json(config),
            "examples": 100,
            "total_steps": 100,
        }
        with contextlib.closing(checkpoints.open_checkpoints(workdir)) as manager:
            checkpoints.save(manager, 1, state, record)
        return TrainedRun("run", workdir, configs.to_json(config), [], {}, {})

    return make


def test_the_images_of_a_survey_come_from_all_classes(trained, images, tmp_path, monkeypatch):
    # As many images of each of two classes as are measured: the first ones are all of one.
    (folder,) = (tmp_path / "images").iterdir()
    for path in folder.iterdir():
        path.unlink()
    for label, level in {"dark": 10, "light": 240}.items():
        (folder / label).mkdir()
        for index in range(8):
            image = np.full((16, 16, 3), level, np.uint8)
            (folder / label / f"{index}.png").write_bytes(png.encode(image))
    monkeypatch.setattr(measure, "MEASURED_IMAGES", 8)
    lens = measure_lens(trained(None), examples=4, data_dir=None)
    levels = lens.statistics.inputs[:, 8, 8, 0] > 0
    assert levels.tolist() == [False] * 4 + [True] * 4
    shown = lens.inputs[::4, 8, 8, 0] > 0
    assert shown.tolist() == [False, False, True, True]


def test_nine_patches_are_measured_as_one_picture(trained, images):
    lens = measure_lens(trained(JIGSAW), examples=2, data_dir=None)
    assert lens.views_per_image == 1
    assert lens.tiled

    # The pixels of the patches: the middle of each cell.
    kept = np.array([0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13])
    drawn = inject("arrow", jnp.asarray(images / 127.5 - 1, jnp.float32))
    expected = np.asarray(drawn.images)[:, kept][:, :, kept]
    mask = np.asarray(drawn.mask)[:, kept][:, :, kept]
    np.testing.assert_allclose(lens.inputs, expected[:2], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(lens.statistics.mask, mask[0])

    added = np.full((2, 12, 12, 3), [0.25, 0, 0])
    np.testing.assert_allclose(lens.lensed - lens.inputs, added, atol=1e-6)
    np.testing.assert_allclose(lens.statistics.image_change, [0.0625 / 3] * 3, rtol=1e-5)

    section = page.document("title", sections.lens_section("run", lens, {}))
    assert "nine patches" in section
    assert "in every view" not in section


def test_the_views_of_a_rotation_are_measured_one_by_one(trained, images):
    lens = measure_lens(trained(None), examples=2, data_dir=None)
    assert lens.views_per_image == 4
    assert not lens.tiled
    assert lens.inputs.shape == (8, 16, 16, 3)
    for turns in range(4):
        expected = np.rot90(lens.inputs[0], turns)
        np.testing.assert_allclose(lens.inputs[turns], expected, rtol=0, atol=1e-6)

    section = page.document("title", sections.lens_section("run", lens, {}))
    assert "nine patches" not in section
    assert "The same image in every view" in section
