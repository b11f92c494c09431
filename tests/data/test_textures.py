import json
import pathlib

import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from lens_jax.data import synthesis, textures
from lens_jax.data.batches import Skipped, eval_batches, train_batches
from lens_jax.data.builders import png
from lens_jax.data.builders import textures as builder
from lens_jax.data.builders.textures import Images
from lens_jax.data.decode import decode
from lens_jax.data.folder import open_folder
from lens_jax.data.records import Source
from lens_jax.errors import UserError

COUNT = 12
PATCH, SIZE = 9, 24


@pytest.fixture
def images(tmp_path) -> str:
    """A folder of images of one color each, all different; all of a class is in "train"."""
    folder = tmp_path / "images" / "train" / "any"
    folder.mkdir(parents=True)
    (tmp_path / "images" / "test").mkdir()
    for index in range(COUNT):
        image = np.full((20, 30, 3), 20 * index, np.uint8)
        (folder / f"{index:02d}.png").write_bytes(png.encode(image))
    return str(tmp_path / "images")


@pytest.fixture
def source(images) -> Source:
    return open_folder(images, "train")


@pytest.fixture
def made(images, source, tmp_path) -> epath.Path:
    """The textures of all images."""
    folder = epath.Path(tmp_path) / "textures"
    of_folder = Images("image_folder", "train", images)
    assert builder.make_textures(range(COUNT), of_folder, folder, PATCH, SIZE) == []
    about = textures.describe(source, PATCH, SIZE)
    (folder / textures.ABOUT).write_text(json.dumps(about))
    return folder


def data_of(images: str, folder: str = "") -> ConfigDict:
    """A config's section on data."""
    values = {"name": "image_folder", "dir": images, "train_split": "train", "textures": folder}
    return ConfigDict(values)


def color_of(data: bytes) -> int:
    """The color of an image that has only one."""
    (color,) = np.unique(decode(data))
    return int(color)


def test_an_image_and_its_texture_are_read_together(images, source, made):
    paired = textures.pair(source, data_of(images, str(made)))
    few = paired.subsample(5)
    for index in range(COUNT):
        assert color_of(paired[index]["texture"]) == color_of(paired[index]["image"]) == 20 * index
    for index in range(5):
        assert color_of(few[index]["texture"]) == 20 * few.locate(index)
    assert paired.fingerprint == source.fingerprint
    assert len(paired.textures) == 16
    assert paired.notes[-1] == f"textures of all of them in {made}"


def test_batches_hold_the_texture_of_each_image_and_go_on_where_they_were(images, source, made):
    paired = textures.pair(source, data_of(images, str(made)))

    def open_batches():
        options = {"batch_size": 4, "image_size": 8, "crop": "random", "seed": 0, "threads": 1}
        return train_batches(paired, Skipped(paired), **options)

    batches = open_batches()
    for _ in range(2):
        next(batches)
    state = batches.get_state()
    expected = [next(batches) for _ in range(4)]
    again = open_batches()
    again.set_state(state)
    for batch in expected:
        assert batch["texture"].shape == batch["image"].shape == (4, 8, 8, 3)
        np.testing.assert_array_equal(batch["texture"], batch["image"])
        np.testing.assert_array_equal(batch["texture"][:, 0, 0, 0], 20 * batch["index"])
        found = next(again)
        for key, rows in batch.items():
            np.testing.assert_array_equal(found[key], rows)


def test_evaluation_reads_images_alone(images, source, made):
    paired = textures.pair(source, data_of(images, str(made)))
    batches = eval_batches(paired, Skipped(paired), batch_size=4, image_size=8, crop="none")
    assert set(next(batches)) == {"image", "label", "index", "mask"}


def test_where_a_texture_does_not_decode_the_next_image_takes_the_place(images, source, made):
    textures.path_of(made, 3).write_bytes(b"none")
    paired = textures.pair(source, data_of(images, str(made)))
    skipped = Skipped(paired)
    batches = train_batches(
        paired, skipped, batch_size=12, image_size=8, crop="none", seed=0, threads=1
    )
    batch = next(batches)
    assert sorted(batch["index"]) == [0, 1, 2, 4, 4, 5, 6, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(batch["texture"], batch["image"])
    (name,) = skipped.names
    assert name.endswith("03.png")


def test_without_textures_the_line_says_how_to_make_them(images, source, tmp_path):
    command = f"python -m lens_jax.prepare --dataset=textures --source={images} --split=train"
    for folder in ("", str(tmp_path / "nowhere")):
        with pytest.raises(UserError, match=f"no textures of .* train in .*{folder!r}") as raised:
            textures.pair(source, data_of(images, folder))
        assert f"run `{command}` and set it to the folder" in str(raised.value)


def test_of_a_prepared_data_set_the_command_has_name_and_folder(images, source):
    data = data_of(images)
    data.update({"name": "tfds:birds", "dir": "/my data"})
    with pytest.raises(UserError) as raised:
        textures.pair(source, data)
    command = "--source=tfds:birds --split=train --data_dir='/my data'"
    assert f"python -m lens_jax.prepare --dataset=textures {command}`" in str(raised.value)


def test_missing_textures_are_counted_and_named_with_the_command(images, source, made):
    for index in (2, 5, 6, 11):
        textures.path_of(made, index).unlink()
    with pytest.raises(UserError) as raised:
        textures.pair(source, data_of(images, str(made)))
    line = str(raised.value)
    assert f"textures are missing in {made} for 4 of 12 images, such as " in line
    names = [f"{images}/train/any/{index:02d}.png" for index in (2, 5, 6)]
    assert ", ".join(names) in line
    assert line.endswith("--patch=9 --size=24`, which makes only these")


def test_the_textures_of_other_images_are_refused(images, source, made):
    (pathlib.Path(images) / "train" / "any" / "00.png").unlink()
    with pytest.raises(UserError, match="holds the textures of other images, image_folder train"):
        textures.pair(open_folder(images, "train"), data_of(images, str(made)))


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_all_textures_are_missing_from_an_empty_folder(count: int, tmp_path):
    assert textures.find_missing(epath.Path(tmp_path), count) == list(range(count))


def test_files_lie_in_folders_of_a_thousand(tmp_path):
    paths = [textures.path_of(epath.Path("f"), index) for index in (0, 999, 1000, 1281166)]
    expected = ["000000/000000000", "000000/000000999", "000001/000001000", "001281/001281166"]
    assert [str(path) for path in paths] == [f"f/{name}.png" for name in expected]


def test_a_texture_is_made_from_the_center_and_one_other_place():
    image = np.random.default_rng(0).integers(0, 256, (31, 50, 3), np.uint8)
    corners = set()
    for seed in range(200):
        center, elsewhere = builder.cut_patches(image, 20, np.random.default_rng(seed))
        np.testing.assert_array_equal(center, image[5:25, 15:35])
        assert elsewhere.shape == (20, 20, 3)
        (match,) = np.argwhere((image[:12, :31] == elsewhere[0, 0]).all(axis=-1))
        corners.add(tuple(match))
    rows, columns = zip(*corners, strict=True)
    assert (min(rows), max(rows), min(columns), max(columns)) == (0, 11, 0, 30)


def test_a_texture_follows_from_image_and_index(images, made, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    one, again, other = (builder.make_texture(image, i, PATCH, SIZE) for i in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    rng = np.random.default_rng((0, 4))
    examples = builder.cut_patches(image, PATCH, rng)
    np.testing.assert_array_equal(one, synthesis.synthesize(examples, SIZE, 3, rng))


def test_an_image_that_does_not_decode_has_an_empty_texture(images, tmp_path):
    (pathlib.Path(images) / "train" / "any" / "01.png").write_bytes(b"none")
    folder = epath.Path(tmp_path) / "textures"
    of_folder = Images("image_folder", "train", images)
    (name,) = builder.make_textures([0, 1], of_folder, folder, PATCH, SIZE)
    assert name.endswith("01.png")
    assert textures.path_of(folder, 1).read_bytes() == b""
    assert textures.find_missing(folder, 3) == [2]


def test_images_without_room_for_a_patch_are_found(images):
    of_folder = Images("image_folder", "train", images)
    assert builder.find_small(range(COUNT), of_folder, patch=20) == []
    small = builder.find_small([1, 3], of_folder, patch=21)
    assert [pathlib.Path(name).name for name in small] == ["01.png", "03.png"]
