"""`data.orient` and `data.depth` reach all that reads images: training, evaluation, the report."""

import types

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from lens_jax import config as configs
from lens_jax.data.batches import Skipped
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from lens_jax.eval.passes import run_pass
from lens_jax.report import measure
from lens_jax.train import loop

# Bright above, and in 12 bits of 16.
SCENE = np.repeat(np.array([[3600], [400]], np.uint16), 8, axis=0).repeat(16, axis=1)


@pytest.fixture
def folder(tmp_path) -> str:
    """An image folder of one PNG that EXIF wants turned upside down."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "scan.png"
    cv2.imwrite(str(path), SCENE)
    exif = Image.Exif()
    exif[0x0112] = 3
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    content = path.read_bytes()
    # Behind the header, which is 33 bytes long with the signature. Nobody checks this checksum.
    chunk = len(block).to_bytes(4) + b"eXIf" + block + b"\0\0\0\0"
    path.write_bytes(content[:33] + chunk + content[33:])
    return str(tmp_path)


def read_everywhere(config: ConfigDict) -> list[np.ndarray]:
    """The only image, as training, evaluation and the report see it."""
    source = open_source("image_folder", "train", config.data.dir)
    training = types.SimpleNamespace(
        config=config, setup=types.SimpleNamespace(source=source), skipped=Skipped(source)
    )
    trained = next(loop.open_batches(training, rollbacks=0))["image"][0]
    (evaluated,) = run_pass(config.data, source, lambda state, batch: batch["image"], {})
    (reported,) = measure._read_images(config, None, 1)
    return [trained, evaluated[0], reported]


@pytest.mark.parametrize(
    ("options", "above", "below"),
    [
        ({}, 400 // 256, 3600 // 256),
        ({"data.depth": 12}, 400 // 16, 3600 // 16),
        ({"data.depth": 12, "data.orient": "never"}, 3600 // 16, 400 // 16),
        ({"data.depth": 11, "data.orient": "always"}, 400 // 8, 255),
    ],
)
def test_images_are_the_same_wherever_they_are_read(
    tiny_config, folder: str, options: dict, above: int, below: int
):
    names = {"data.name": "image_folder", "data.dir": folder, "data.eval_split": "train"}
    config = tiny_config({**names, **options, "data.batch_size": 1})
    for image in read_everywhere(config):
        assert image.shape == (16, 16, 3)
        assert (image[:8] == above).all()
        assert (image[8:] == below).all()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("data.orient", "sideways", "unknown data.orient 'sideways': choose one of auto, always"),
        ("data.depth", 7, "data.depth is 7: it must lie between 8 and 16"),
        ("data.depth", 17, "data.depth is 17"),
    ],
)
def test_other_values_are_refused(tiny_config, option: str, value: object, words: str):
    with pytest.raises(UserError, match=words):
        configs.check(tiny_config({option: value, "data.batch_size": 8}))
