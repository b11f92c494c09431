import json
import pathlib

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.workdir.files import RESULTS_FILE

from .commands import TINY, command, run, succeed


@pytest.fixture
def noise(tmp_path) -> pathlib.Path:
    """A folder of two classes of pure noise, to train on and to test on."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            write_noise(tmp_path / "images" / split / name, 40, rng)
    return tmp_path / "images"


def write_noise(folder: pathlib.Path, count: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        (folder / f"{i}.png").write_bytes(png.encode(pixels))


def train(
    workdir: pathlib.Path, images: pathlib.Path, *options: str, config: str = "rotation"
) -> list[str]:
    return command(
        "main",
        f"--config=configs/{config}.py:image_folder",
        f"--workdir={workdir}",
        f"--config.data.dir={images}",
        "--config.data.image_size=16",
        "--config.model.name=small",
        "--config.model.stem=patch",
        "--config.lens.kind=none",
        "--config.train.duration=2 steps",
        *TINY,
        *options,
    )


def test_noise_is_tested_on_images_that_were_not_trained_on_and_changed_images_are_refused(
    noise, tmp_path
):
    workdir = tmp_path / "run"
    output = succeed(*train(workdir, noise))
    assert f"image folder {noise}: 160 .png\n" in output

    # There is nothing to learn of noise but the images themselves.
    printed = succeed(*command("linear_eval", f"--checkpoint={workdir}"))
    assert f"evaluated on image_folder {noise} test, 80 images" in printed
    output = succeed(*command("linear_eval", f"--checkpoint={workdir}", "--test_split=train"))
    assert "the test split 'train' is what the run was trained on" in output
    by_default, on_train = json.loads((workdir / RESULTS_FILE).read_text())
    assert (by_default["test_split"], on_train["test_split"]) == ("test", "train")
    assert by_default["linear_accuracy"] < 0.75

    # The same images elsewhere are the same, a renamed class is not.
    moved = noise.rename(tmp_path / "moved")
    assert "going on from checkpoint 2" in succeed(*train(workdir, moved))
    (moved / "train" / "b").rename(moved / "train" / "c")
    refused = run(*train(workdir, moved))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert "the data has changed since" in line
    assert "a new class 'c'" in line
    # Three classes are one too many for a run that began with two.
    refused = run(*train(workdir, moved, "--allow_changed_data"))
    assert "2 classes only, not with 3" in refused.stderr
    (moved / "test" / "b").rename(moved / "test" / "c")
    assert "going on" in succeed(*train(workdir, moved, "--allow_changed_data"))


def test_a_memory_of_each_image_is_refused_for_more_images_in_a_line_that_names_the_way_out(
    noise, tmp_path
):
    rng = np.random.default_rng(1)
    write_noise(noise / "train" / "b", 984, rng)
    workdir = tmp_path / "run"
    small = (
        "--config.data.image_size=32",
        "--config.task.size=0",
        "--config.task.cell=10",
        "--config.task.patch=8",
        "--config.task.embedding=8",
        "--config.task.negatives=64",
    )
    succeed(*train(workdir, noise, *small, config="pirl"))

    # A memory of 1,024 rows has none for one image more.
    write_noise(noise / "train" / "b", 985, rng)
    words = train(workdir, noise, *small, "--allow_changed_data", config="pirl")
    refused = run(*words)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert "1,024 rows for 1,024 images, and would need 2,048 for 1,025" in line
    assert f"--init={workdir}" in line

    # The way out.
    output = succeed(*train(tmp_path / "new", noise, *small, f"--init={workdir}", config="pirl"))
    assert f"began with checkpoint 2 of {workdir}" in output
