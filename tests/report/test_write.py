import contextlib
import io
import json
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lens_jax import config as configs
from lens_jax.data.builders import png
from lens_jax.errors import UserError
from lens_jax.ops.shortcuts import inject
from lens_jax.pages import figures, html
from lens_jax.report import change as changes
from lens_jax.report import chapters, pictures, runs, write
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import init_state
from lens_jax.train.system import make_system
from lens_jax.workdir import checkpoints

ROWS = [{"step": 5, "epoch": 0.5, "seconds": 2.0, "loss": 1.2, "accuracy_raw": 0.4}]
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
def look() -> pictures.Look:
    """Six images in four views, whose upper left corner the lens brightens."""
    inputs = np.random.default_rng(0).uniform(-1, 0, (24, 16, 16, 3))
    lensed, mask = inputs.copy(), np.zeros((24, 16, 16), bool)
    lensed[:, :4, :4] += 0.5
    mask[:, :4, :2] = True
    return pictures.Look(inputs, lensed, 4, changes.measure(inputs, lensed, mask, 4))


@pytest.fixture
def images(tmp_path) -> np.ndarray:
    """Three images, [3, 16, 16, 3], that are also files in the split "train" of a folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    (tmp_path / "images" / "train").mkdir(parents=True)
    for index, image in enumerate(pixels):
        (tmp_path / "images" / "train" / f"{index}.png").write_bytes(png.encode(image))
    return pixels


@pytest.fixture
def trained(tiny_config, tmp_path) -> Callable[[dict | None], runs.Run]:
    """Makes a run with a checkpoint whose lens adds a quarter to every red pixel."""

    def make(task: dict | None) -> runs.Run:
        data = {
            "data.name": "image_folder",
            "data.dir": str(tmp_path / "images"),
            "data.eval_split": "train",
        }
        config = tiny_config(
            data | {"lens.patch": 1, "model.stem": "cifar", "shortcut": "arrow"}, task
        )
        system = make_system(config, 1)
        both = extractor_optimizer(config, Clock(4, 8, 8)), lens_optimizer(config)
        shapes = jax.eval_shape(lambda: init_state(config, system, *both))
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        (last,) = (conv for conv in state.lens_params.values() if conv["bias"].shape == (3,))
        last["bias"] = jnp.array([0.25, 0.0, 0.0])
        with contextlib.closing(checkpoints.open_checkpoints(str(tmp_path / "run"))) as manager:
            described = {"class_names": ["unlabeled"], "config": configs.to_json(config)}
            checkpoints.save(manager, 1, state, described)
        return runs.Run("run", str(tmp_path / "run"), configs.to_json(config), [], {})

    return make


def test_a_report_without_a_lens(add_run, accuracy, capsys):
    add_run("arrow", "arrow", rows=ROWS, evaluations=[accuracy(0.5)])
    folder = add_run("<script>alert(1)<", rows=ROWS)
    write.write_report(str(folder), examples=4, data_dir=None)
    text = (folder / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert json.loads((folder / "summary.json").read_text()) == {
        "<script>alert(1)<": {"seconds": 2.0},
        "arrow": {"linear_accuracy": 0.5, "seconds": 2.0},
    }
    Image.open(folder / "report" / "curves.png").verify()
    printed = capsys.readouterr().out
    assert str(folder / "report" / "index.html") in printed
    assert [line.split() for line in printed.splitlines()][-1] == [
        "arrow",
        "50.0",
        "%",
        "-",
        "-",
        "2",
        "-",
    ]


def test_one_run_has_no_summary(add_run):
    folder = add_run("clean") / "clean"
    write.write_report(str(folder), examples=4, data_dir=None)
    assert (folder / "report" / "index.html").exists()
    assert not (folder / "summary.json").exists()


def test_a_lens_run_needs_a_checkpoint(add_run):
    with pytest.raises(UserError, match="no checkpoint"):
        write.write_report(str(add_run("lens", kind="network")), examples=4, data_dir=None)


def test_the_chapters_of_a_lens_run(add_run, accuracy, look):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.52)])
    found = runs.find_runs(str(add_run("lens", "arrow", "network", ROWS, [accuracy(0.77)])))
    numbers = {run.name: runs.summarize(run, found) for run in found}
    numbers["lens"] |= changes.shares(look.change)
    text = html.document("title", chapters.tell("runs", found, {"lens": look}, numbers))
    assert "lens recovered 89 % of what the shortcut cost" in text
    assert (
        "50.0 % of the squared change lies inside the shortcut&#x27;s mask, which covers 3.1 %"
        in text
    )
    assert text.count("<img alt=") == text.count("<img ") == 2 + 2 + 2 + 2 + 1


def test_the_table_says_what_altered_the_images_and_to_which_end(add_run, accuracy):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.5)])
    add_run("noise", "arrow", "random", ROWS, [accuracy(0.53)])
    found = runs.find_runs(str(add_run("pgd", "arrow", "pgd", objective="full")))
    numbers = {run.name: runs.summarize(run, found) for run in found}
    text = html.document("title", chapters.tell("runs", found, {}, numbers))
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", text)]
    assert {row[0]: row[-5:-1] for row in rows if len(row) > 5} == {
        "clean": ["rotation", "none", "none", "-"],
        "arrow": ["rotation", "arrow", "none", "-"],
        "noise": ["rotation", "arrow", "random", "-"],
        "pgd": ["rotation", "arrow", "pgd", "full"],
    }
    assert "noise recovered 10 % of what the shortcut cost" in text
    assert "53.0 % with it and random perturbations." in text


def test_the_penalty_is_a_curve_where_it_is_steered_alone(add_run):
    rows = [row | {"lens_penalty": 90.0} for row in ROWS]
    add_run("fixed", kind="network", rows=rows)
    found = runs.find_runs(str(add_run("steered", kind="network", rows=rows, budget="target")))
    heights = [
        Image.open(io.BytesIO(pictures.curve_pictures(each)[0].png)).height
        for each in (found[:1], found)
    ]
    assert heights[1] - heights[0] == 3.2 * figures.DPI
    assert found[0].rows == rows


def test_nine_patches_are_looked_at_as_one_picture(trained, images, tmp_path):
    look = write.look_through(trained(JIGSAW), examples=2, data_dir=None)
    drawn = inject("arrow", jnp.asarray(images / 127.5 - 1, jnp.float32))
    rows = np.array(
        [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
    )  # the patches' central places in the cells
    expected, mask = (np.asarray(each)[:, rows][:, :, rows] for each in drawn)
    assert look.views == 1
    np.testing.assert_allclose(look.inputs, expected[:2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        look.lensed - look.inputs, np.full((2, 12, 12, 3), [0.25, 0, 0]), atol=1e-6
    )
    np.testing.assert_allclose(look.change.losses, [0.0625 / 3] * 3, rtol=1e-5)
    np.testing.assert_array_equal(look.change.mask, mask[0])
    chapter = html.document("title", chapters.lens_chapter("run", look, {}))
    assert "nine patches" in chapter
    assert "in every view" not in chapter


def test_the_views_of_a_rotation_are_looked_at_one_by_one(trained, images, tmp_path):
    look = write.look_through(trained(None), examples=2, data_dir=None)
    assert look.views == 4
    assert look.inputs.shape == (8, 16, 16, 3)
    for turns in range(4):
        np.testing.assert_allclose(
            look.inputs[turns], np.rot90(look.inputs[0], turns), rtol=0, atol=1e-6
        )
    chapter = html.document("title", chapters.lens_chapter("run", look, {}))
    assert "nine patches" not in chapter
    assert "The same image in every view" in chapter


def test_pictures_show_every_example_once(look):
    shown = pictures.example_pictures("lens", look)
    sizes = [Image.open(io.BytesIO(picture.png)).size for picture in shown]
    step = 16 * 11 + 8
    assert sizes == [(44 + 4 * step, 8 + 3 * step), (44 + 2 * step, 8 + 3 * step)]
    assert [picture.caption for picture in shown] == [
        "Images 1 to 4 of the eval split.",
        "Images 5 to 6 of the eval split.",
    ]


def test_an_image_that_is_its_only_view_is_not_shown_twice(look):
    assert len(pictures.view_pictures("lens", look)) == 2
    assert pictures.view_pictures("lens", look._replace(views=1)) == []
