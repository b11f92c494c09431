import json
import sys

import numpy as np
import pytest

from benchmarks import baselines
from tests.end_to_end.commands import run


def test_a_color_histogram_counts_pixels_by_hand():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (255, 0, 0)  # the highest of four levels of red
    image[0, 1] = (64, 64, 64)  # the second level of each color
    found = baselines.color_histogram(image)
    expected = np.zeros(64)
    expected[0] = 0.5
    expected[3 * 16] = 0.25
    expected[16 + 4 + 1] = 0.25
    np.testing.assert_array_equal(found, expected)


def test_gradients_do_not_see_where_light_becomes_dark_but_see_in_which_direction():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 12:] = 200
    upright = baselines.oriented_gradients(image)
    inverted = baselines.oriented_gradients(200 - image)
    turned = baselines.oriented_gradients(np.rot90(image).copy())
    np.testing.assert_allclose(upright, inverted, atol=1e-6)
    assert np.abs(upright - turned).max() > 0.1


@pytest.mark.parametrize(("side", "blocks"), [(32, 9), (64, 49)])
def test_gradients_have_four_cells_of_nine_directions_in_each_block(side: int, blocks: int):
    image = np.zeros((side, side, 3), np.uint8)
    assert baselines.oriented_gradients(image).shape == (blocks * 4 * 9,)


def test_colors_tell_colorful_images_apart_and_gradients_do_not(colorful):
    found = baselines.measure(colorful(60), colorful(30, seed=1), 16)
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["color histograms"] == 1.0
    assert found["oriented gradients"] < 0.7


def test_the_command_prints_and_writes_the_lines(tmp_path):
    words = [f"--data_dir={tmp_path}", "--dataset=digits", "--size=32", "--examples=300"]
    path = tmp_path / "found.json"
    ended = run(sys.executable, "-m", "benchmarks.baselines", *words, f"--json={path}")
    assert ended.returncode == 0, ended.stderr
    assert "digits: 300 training images, 360 test images" in ended.stdout
    found = json.loads(path.read_text())
    assert found["chance"] < 0.2
    assert found["oriented gradients"] > 0.9
    assert f"{found['oriented gradients']:.2%}" in ended.stdout
