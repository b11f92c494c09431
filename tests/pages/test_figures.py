import io

import numpy as np
import pytest
from PIL import Image

from lens_jax.pages import figures


def decode(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def test_difference_keeps_its_sign():
    difference = np.array([0.0, 0.1, -0.1, 0.4, -0.4])
    light = figures.signed_difference(difference, scale=0.2)
    np.testing.assert_allclose(light, [0.5, 0.75, 0.25, 1, 0])


def test_added_light_is_brighter_than_gray_in_the_picture():
    difference = np.zeros((1, 1, 8, 8, 3))
    difference[..., 0, 0, 0], difference[..., 7, 7, 2] = 0.1, -0.1
    scale = figures.difference_scale(difference)
    cell = decode(figures.image_grid(figures.signed_difference(difference, scale), ["row"], []))
    cell = cell[figures.GAP : -figures.GAP, figures.LABEL : -figures.GAP].astype(int)
    gray = cell[90, 90]
    assert gray.tolist() == [127] * 3 or gray.tolist() == [128] * 3
    assert (np.sign(cell[5, 5] - gray)).tolist() == [1, 0, 0]
    assert (np.sign(cell[-5, -5] - gray)).tolist() == [0, 0, -1]


def test_no_difference_has_a_scale_too():
    assert figures.difference_scale(np.zeros(10)) > 0


def test_light_is_clipped():
    np.testing.assert_allclose(figures.to_light(np.array([-3.0, -1, 0, 1, 2])), [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize(("side", "zoom"), [(32, 5), (224, 1), (48, 3)])
def test_grid_is_enlarged_by_whole_numbers(side, zoom):
    images = np.random.default_rng(0).random((2, 3, side, side, 3))
    pixels = decode(figures.image_grid(images, ["one", "two"], ["a", "b", "c"]))
    step = side * zoom + figures.GAP
    assert pixels.shape == (figures.LABEL + 2 * step, figures.LABEL + 3 * step, 3)
    y, x = figures.LABEL + step, figures.LABEL + 2 * step
    cell = pixels[y : y + side * zoom, x : x + side * zoom]
    np.testing.assert_array_equal(cell, cell[::zoom, ::zoom].repeat(zoom, 0).repeat(zoom, 1))
    np.testing.assert_allclose(cell[::zoom, ::zoom] / 255, images[1, 2], atol=1 / 255)


def test_maps_have_one_size():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 16)) < 0.2
    sizes = {
        decode(figures.squared_map(rng.random((16, 16)), mask)).shape,
        decode(figures.signed_map(rng.normal(size=(16, 16)), mask)).shape,
        decode(figures.signed_map(np.zeros((16, 16)), np.zeros((16, 16), bool))).shape,
    }
    assert sizes == {(546, 672, 3)}


def test_edges_of_one_pixel_are_its_four_sides():
    mask = np.zeros((4, 5), bool)
    mask[1, 3] = True
    sides = {tuple(map(tuple, line)) for line in figures.edges(mask)}
    left, right, top, bottom = 2.5, 3.5, 0.5, 1.5
    assert sides == {
        ((left, top), (right, top)),
        ((left, bottom), (right, bottom)),
        ((left, top), (left, bottom)),
        ((right, top), (right, bottom)),
    }


def test_edges_reach_the_images_border():
    assert len(figures.edges(np.ones((2, 3), bool))) == 2 * (2 + 3)
    assert figures.edges(np.zeros((2, 3), bool)).shape == (0, 2, 2)


@pytest.mark.parametrize("name", ["clean", "_old", "a$b^$", "<b>"])
def test_curves_take_any_name(name):
    rows = [{"epoch": epoch, "loss": 1 / epoch, "accuracy_raw": 0.5} for epoch in (1, 2)]
    lens = [{"epoch": 1, "loss": 1.0, "accuracy_lensed": 0.3, "lens_reconstruction": 0.1}]
    narrow, tall = figures.curves({name: rows}), figures.curves({name: rows, "lens": lens})
    assert decode(narrow).shape == (852, 840, 3)
    assert decode(tall).shape == (1236, 840, 3)


def test_a_panel_is_there_for_what_any_run_has_logged():
    plain = [{"epoch": 1, "loss": 1.0}]
    active = [{"epoch": 1, "loss": 1.0, "active_raw": 0.9}]
    attacked = [{"epoch": 1, "loss": 1.0, "lens_reconstruction": 0.1}]
    steered = [{"epoch": 1, "loss": 1.0, "lens_reconstruction": 0.1, "lens_penalty": 90.0}]
    heights = [
        decode(figures.curves({str(i): rows for i, rows in enumerate(each)})).shape[0]
        for each in ([plain], [active], [plain, attacked], [plain, attacked, steered])
    ]
    assert heights == [468, 468, 852, 1236]


def test_a_name_changes_the_legend():
    rows = [{"epoch": 1, "loss": 1.0}]
    assert figures.curves({"_old": rows}) != figures.curves({"": rows})
