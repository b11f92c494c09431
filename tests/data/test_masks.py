"""Masks of pixels: read from folders, rendered, and cut as their images are."""

import io
import pathlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lens_jax.data.builders import glyph_scenes
from lens_jax.data.decode import central_crop_resize, decode, resize
from lens_jax.data.masks import decode_mask, open_folder, open_scenes, resize_mask
from lens_jax.errors import UserError


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def test_a_mask_is_cut_and_resized_as_its_image_is():
    """An image whose red says the class: of large areas, nearest pixels are linear ones."""
    classes = np.zeros((40, 64), np.uint8)
    classes[10:30, 20:44] = 2
    image = png(np.repeat(100 * classes[..., None], 3, axis=-1))
    for crop, cut in (("none", resize), ("central", central_crop_resize)):
        pixels = cut(image, 32)[..., 0]
        mask = resize_mask(classes, crop, 32)
        assert mask.dtype == np.uint8
        sure = np.abs(pixels.astype(int) - 100) > 60
        np.testing.assert_array_equal(mask[sure], np.where(pixels[sure] > 100, 2, 0))
        assert sure.mean() > 0.8


def test_rendered_masks_show_where_each_letter_is():
    scenes = open_scenes("test")
    assert len(scenes.images) == 2000
    assert scenes.images.class_names[0] == "background"
    mask = scenes.read_mask(7)
    assert decode(scenes.images[7]["image"]).shape == (*mask.shape, 3)

    _, factors = glyph_scenes.make("test", 7)
    names = {glyph_scenes.LETTERS[letter.label] for letter in factors.letters}
    found = {scenes.images.class_names[value - 1] for value in np.unique(mask)}
    assert found == names | {"background"}
    # Strokes are of their letter, or of one in front of it; and so is what letters enclose.
    in_front = set()
    for letter in reversed(factors.letters):
        in_front.add(1 + scenes.images.class_names.index(glyph_scenes.LETTERS[letter.label]))
        strokes = glyph_scenes.coverage(letter, 96) >= 0.5
        assert set(np.unique(mask[strokes])) <= in_front
        center = mask[round(96 * letter.y), round(96 * letter.x)]
        assert center in in_front

    # Beyond the boxes of all letters there is the background alone.
    outside = np.ones(mask.shape, bool)
    for letter in factors.letters:
        top, left, bottom, right = (round(96 * edge) for edge in letter.box)
        outside[top : bottom + 1, left : right + 1] = False
    assert set(np.unique(mask[outside])) == {1}


def write(folder: pathlib.Path, split: str, name: str, mask: np.ndarray) -> None:
    for kind in ("images", "annotations"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    _, jpeg = cv2.imencode(".jpg", np.zeros((*mask.shape, 3), np.uint8))
    (folder / "images" / split / f"{name}.jpg").write_bytes(jpeg.tobytes())
    (folder / "annotations" / split / f"{name}.png").write_bytes(png(mask))


def test_a_folder_has_a_mask_for_each_image_in_sorted_order(tmp_path):
    for name, value in (("b", 2), ("a", 1)):
        write(tmp_path, "training", name, np.full((4, 6), value, np.uint8))
    masked = open_folder(str(tmp_path), "training", classes=2)
    assert [record["name"][-5:] for record in masked.images] == ["a.jpg", "b.jpg"]
    assert [masked.read_mask(index)[0, 0] for index in (0, 1)] == [1, 2]
    assert masked.images.class_names == ("1", "2")
    more = open_folder(str(tmp_path), "training", classes=3)
    assert more.images.fingerprint != masked.images.fingerprint


def test_what_a_folder_lacks_is_named(tmp_path):
    with pytest.raises(UserError, match="no images with masks in"):
        open_folder(str(tmp_path), "validation", classes=2)
    write(tmp_path, "validation", "a", np.ones((4, 4), np.uint8))
    (tmp_path / "annotations/validation/a.png").unlink()
    with pytest.raises(UserError, match=r"an image has no mask: .*a\.png is missing"):
        open_folder(str(tmp_path), "validation", classes=2)


def test_masks_of_other_kinds_are_refused():
    with pytest.raises(UserError, match="has the class 9: give an option classes"):
        decode_mask(png(np.full((4, 4), 9, np.uint8)), 8, "x.png")
    with pytest.raises(UserError, match="has the colors 'RGB'"):
        decode_mask(png(np.zeros((4, 4, 3), np.uint8)), 8, "x.png")
    with pytest.raises(UserError, match="no PNG file that decodes"):
        decode_mask(b"nothing", 8, "x.png")
