import io

import numpy as np
import pytest
from PIL import Image

from lens_jax.pages import figures
from lens_jax.pages.figures import Line, Panel


def decode(png: bytes) -> np.ndarray:
    """The pixels [h, w, 3] of a PNG file."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def test_difference_keeps_its_sign():
    difference = np.array([0.0, 0.1, -0.1, 0.4, -0.4])
    light = figures.signed_difference(difference, scale=0.2)
    np.testing.assert_allclose(light, [0.5, 0.75, 0.25, 1, 0])


def test_added_light_is_brighter_than_gray_in_the_picture():
    difference = np.zeros((1, 1, 8, 8, 3))
    difference[..., 0, 0, 0] = 0.1
    difference[..., 7, 7, 2] = -0.1
    scale = figures.difference_scale(difference)
    light = figures.signed_difference(difference, scale)
    pixels = decode(figures.image_grid(light, ["row"], []))

    cell = pixels[figures.GAP : -figures.GAP, figures.LABEL : -figures.GAP].astype(int)
    gray = cell[90, 90]
    assert gray.tolist() in ([127] * 3, [128] * 3)
    assert np.sign(cell[5, 5] - gray).tolist() == [1, 0, 0]
    assert np.sign(cell[-5, -5] - gray).tolist() == [0, 0, -1]


def test_no_difference_has_a_scale_too():
    assert figures.difference_scale(np.zeros(10)) > 0


def test_light_is_clipped():
    images = np.array([-3.0, -1, 0, 1, 2])
    np.testing.assert_allclose(figures.to_light(images), [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize(("side", "zoom"), [(32, 5), (224, 1), (48, 3)])
def test_grid_is_enlarged_by_whole_numbers(side, zoom):
    images = np.random.default_rng(0).random((2, 3, side, side, 3))
    pixels = decode(figures.image_grid(images, ["one", "two"], ["a", "b", "c"]))
    enlarged = side * zoom
    step = enlarged + figures.GAP
    assert pixels.shape == (figures.LABEL + 2 * step, figures.LABEL + 3 * step, 3)

    # The last cell: each pixel is a square of one color, that of the image.
    y = figures.LABEL + step
    x = figures.LABEL + 2 * step
    cell = pixels[y : y + enlarged, x : x + enlarged]
    corners = cell[::zoom, ::zoom]
    np.testing.assert_array_equal(cell, corners.repeat(zoom, 0).repeat(zoom, 1))
    np.testing.assert_allclose(corners / 255, images[1, 2], atol=1 / 255)


def test_maps_have_one_size():
    rng = np.random.default_rng(0)
    values = rng.random((16, 16))
    mask = values < 0.2
    maps = [
        figures.heat_map(values, mask),
        figures.diverging_map(values - 0.5, mask),
        figures.diverging_map(np.zeros((16, 16)), np.zeros((16, 16), bool)),
    ]
    for png in maps:
        assert decode(png).shape == (546, 672, 3)


def test_edges_of_one_pixel_are_its_four_sides():
    mask = np.zeros((4, 5), bool)
    mask[1, 3] = True
    lines = figures.edges(mask).tolist()
    left, right, top, bottom = 2.5, 3.5, 0.5, 1.5
    assert sorted(lines) == [
        [[left, top], [left, bottom]],
        [[left, top], [right, top]],
        [[left, bottom], [right, bottom]],
        [[right, top], [right, bottom]],
    ]


def test_edges_reach_the_images_border():
    assert len(figures.edges(np.ones((2, 3), bool))) == 2 * (2 + 3)
    assert figures.edges(np.zeros((2, 3), bool)).shape == (0, 2, 2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_panel_adds_its_height(count):
    solid = Line(0, [1, 2], [1.0, 0.1])
    dashed = Line(1, [2], [0.5], "--")
    panels = [Panel("loss", "log", [solid, dashed])] * count
    pixels = decode(figures.line_panels(panels, "epoch", ["one", "other"]))
    assert pixels.shape == (84 + 384 * count, 840, 3)


@pytest.mark.parametrize("name", ["clean", "_old", "a$b^$", "<b>"])
def test_a_legend_takes_any_name(name):
    line = Line(0, [1, 2], [1.0, 0.5])
    panel = Panel("loss", "linear", [line])
    named = figures.line_panels([panel], "epoch", [name])
    unnamed = figures.line_panels([panel], "epoch", [""])
    assert named != unnamed


def test_a_single_point_can_be_seen():
    line = Line(0, [1, 2], [1.0, 1.0])
    point = Line(1, [2], [1.0])
    names = ["line", "point"]
    without = figures.line_panels([Panel("loss", "linear", [line])], "epoch", names)
    with_point = figures.line_panels([Panel("loss", "linear", [line, point])], "epoch", names)
    assert (decode(without) != decode(with_point)).any()
