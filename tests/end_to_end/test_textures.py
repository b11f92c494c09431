"""Textures made by processes that are killed, and read by a training."""

import pathlib
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from lens_jax.data.textures import ABOUT
from lens_jax.workdir.metrics import read_metrics

from .commands import REPOSITORY, TINY, command, run, succeed

COUNT = 400


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> pathlib.Path:
    """Noise in a color for each image, of 36 px."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", COUNT), ("test", 6)):
        for index in range(count):
            pixels = rng.integers(0, 40, (36, 36, 3)) + rng.integers(0, 200, 3)
            path = folder / split / f"class_{index % 2}" / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def prepare(images: pathlib.Path, data: pathlib.Path, *options: str) -> list[str]:
    flags = ("--dataset=textures", f"--source={images}", f"--data_dir={data}")
    return command("prepare", *flags, "--patch=24", "--size=24", *options)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def killed(images, tmp_path_factory) -> tuple[pathlib.Path, set[str]]:
    """The folder of textures of a process that was killed and gone on with, and what it found."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "textures" / "image_folder" / images.name / "train"
    words = prepare(images, data)
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        while len(list(folder.rglob("0*.png"))) < 20:
            time.sleep(0.02)
            assert process.poll() is None
        process.kill()
    # The processes that it had started end with it.
    time.sleep(1)
    before = set(contents(folder))
    time.sleep(1)
    assert set(contents(folder)) == before

    output = succeed(*words, fresh=True)
    assert f"{len(before) - 1} of 400 textures are in {folder}" in output
    assert f"train with --config.data.textures={folder}" in output
    return folder, before


def test_a_killed_preparation_goes_on_and_comes_to_what_an_unbroken_one_does(
    killed, images, tmp_path
):
    folder, before = killed
    assert 20 <= len(before) < COUNT
    succeed(*prepare(images, tmp_path), fresh=True)
    unbroken = tmp_path / "textures" / "image_folder" / images.name / "train"
    found = contents(folder)
    assert len(found) == COUNT + 1
    assert found == contents(unbroken)


def training(images: pathlib.Path, workdir: pathlib.Path, textures: str) -> list[str]:
    return command(
        "main",
        "--config=configs/moco.py:digits",
        f"--workdir={workdir}",
        "--config.data.name=image_folder",
        "--config.data.eval_split=test",
        f"--config.data.dir={images}",
        f"--config.data.textures={textures}",
        "--config.task.non_semantic=texture",
        "--config.task.hidden=16",
        "--config.task.embedding=8",
        "--config.train.duration=4 steps",
        *TINY,
    )


def test_training_reads_them_and_goes_on_with_no_others(killed, images, tmp_path):
    folder, _ = killed
    output = succeed(*training(images, tmp_path, str(folder)))
    assert "trained to step 4" in output
    for row in read_metrics(str(tmp_path)):
        assert -1 <= row["negative_cosine_raw"] <= 1
    assert f"textures of all of them in {folder}" in output

    about = folder / ABOUT
    content = about.read_text()
    try:
        about.write_text(content.replace('"patch": 24', '"patch": 23'))
        result = run(*training(images, tmp_path, str(folder)))
    finally:
        about.write_text(content)
    assert result.returncode == 1
    assert "the same images, with other textures" in result.stderr


def test_training_without_them_is_refused_in_one_line(images, tmp_path):
    result = run(*training(images, tmp_path / "run", ""))
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "no textures of image_folder train in data.textures=''" in line
    assert f"--dataset=textures --source={images} --split=train" in line
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--patch=96", "--size=224"), ("400 of 400 images", "below --patch=96 px", "000.png")),
        (("--split=all",), ("unknown split 'all'", "train")),
    ],
)
def test_images_that_cannot_have_textures_are_named_and_nothing_is_written(
    options, words, images, tmp_path
):
    result = run(*prepare(images, tmp_path, *options), fresh=True)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("*.png"))


def test_other_sides_than_those_of_the_folder_are_refused(killed, images):
    folder, _ = killed
    data = folder.parents[3]
    result = run(*prepare(images, data, "--patch=15"), fresh=True)
    assert result.returncode == 1
    assert f"{folder} holds textures with patch 24: give the same, or remove it" in result.stderr
