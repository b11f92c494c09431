import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from lens_jax.errors import UserError
from lens_jax.ops import rotate
from lens_jax.ops.shortcuts import SHORTCUTS, inject
from lens_jax.tasks.base import DataFacts, Views
from lens_jax.train.system import make_system, make_views, prepare

ARROW = """
. . . . . . . . . . . .
. . . . . . . . . . . .
. . . . . . . . . . . .
. . . . . . . . . . . .
. . . . . . . . . . . .
. . . . . # . . . . . .
. . . . # # # . . . . .
. . . # # # # # . . . .
. . . . . # . . . . . .
. . . . . # . . . . . .
. . . . . # . . . . . .
. . . . . # . . . . . .
"""


def drawing() -> np.ndarray:
    rows = ARROW.strip().split("\n")
    marks = np.array([row.split() for row in rows])
    return marks == "#"


def random_images(count: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def symmetric_images(count: int, seed: int) -> np.ndarray:
    """Bright noise that looks the same from all four sides, to the last bit."""
    noise = np.random.default_rng(seed).integers(180, 256, (count, 16, 16, 3))
    total = np.zeros_like(noise)
    for turns in range(4):
        total += np.rot90(noise, turns, (1, 2))
    return total.astype(np.float32) / 510 - 1


def turn_then_draw(images: np.ndarray) -> np.ndarray:
    return np.asarray(inject("arrow", rotate.all_quarter_turns(images)).images)


def draw_then_turn(images: np.ndarray) -> np.ndarray:
    return np.asarray(rotate.all_quarter_turns(inject("arrow", images).images))


def nearest_mean_accuracy(train: np.ndarray, test: np.ndarray) -> float:
    """Of four classes that take turns."""
    means = train.reshape(-1, 4, *train.shape[1:]).mean(axis=0)
    distances = ((test[:, None] - means) ** 2).sum(axis=(2, 3, 4))
    is_right = distances.argmin(axis=1) == np.arange(len(test)) % 4
    return float(is_right.mean())


@pytest.mark.parametrize(("height", "width"), [(12, 12), (12, 17), (32, 32)])
def test_the_arrow_has_the_thirteen_pixels_of_the_drawing(height: int, width: int):
    images = random_images(2, height, width)
    drawn = inject("arrow", images)
    expected = np.zeros((height, width), bool)
    expected[:12, :12] = drawing()
    assert expected.sum() == 13
    for image, new, mask in zip(images, drawn.images, drawn.mask, strict=True):
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(new[expected], np.full((13, 3), 127 / 127.5 - 1, np.float32))
        np.testing.assert_array_equal(new[~expected], image[~expected])


def test_the_mask_holds_only_pixels_that_changed():
    images = random_images(1)
    images[0, 5, 5] = 127 / 127.5 - 1
    mask = np.asarray(inject("arrow", images).mask[0])
    expected = drawing()
    expected[5, 5] = False
    np.testing.assert_array_equal(mask[:12, :12], expected)
    assert mask.sum() == 12


def test_chromatic_aberration_moves_green_one_pixel_to_the_right():
    images = random_images(3, 4, 6)
    drawn = inject("chromatic", jnp.asarray(images))
    expected = images.copy()
    for row in range(4):
        for column in range(6):
            expected[:, row, column, 1] = images[:, row, max(column - 1, 0), 1]
    np.testing.assert_array_equal(drawn.images, expected)
    np.testing.assert_array_equal(drawn.mask, (expected != images).any(axis=-1))
    assert not drawn.mask[:, :, 0].any()
    assert drawn.mask[:, :, 1:].all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 20), (1, 5), (64, 64)])
def test_radial_aberration_magnifies_green_about_the_center(height: int, width: int):
    images = random_images(2, height, width)
    drawn = np.asarray(inject("chromatic_radial", images).images)
    np.testing.assert_array_equal(drawn[..., ::2], images[..., ::2])

    scale = 16 / 17
    center = (np.array([height, width]) - 1) / 2
    for image, new in zip(images, drawn, strict=True):
        expected = ndimage.affine_transform(
            image[..., 1], [scale, scale], center - scale * center, order=1, mode="nearest"
        )
        np.testing.assert_allclose(new[..., 1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("side", "shift"), [(32, 1), (64, 2)])
def test_radial_aberration_moves_green_outwards_by_a_pixel_or_two(side: int, shift: int):
    # An edge through the center stays where it is.
    image = np.full((1, side, side, 3), -1, np.float32)
    image[:, :, side // 2 :] = 1
    drawn = np.asarray(inject("chromatic_radial", image).images)
    middle = drawn[0, :, side // 2 - 1 : side // 2 + 1, 1]
    np.testing.assert_allclose(middle, [[-1, 1]] * side, atol=0.1)

    image = np.full((1, side, side, 3), -1, np.float32)
    image[:, 4:-4, 4:-4] = 1
    bright = np.asarray(inject("chromatic_radial", image).images)[0, side // 2, :, 1]
    # A square 4 px from the border is wider by nearly that much on both sides.
    width = ((bright + 1) / 2).sum()
    assert width == pytest.approx(side - 8 + 2 * shift * (side - 8) / side, abs=0.1)


def test_radial_aberration_leaves_images_of_one_color_alone():
    images = np.full((1, 32, 32, 3), 0.3, np.float32)
    drawn = inject("chromatic_radial", images)
    np.testing.assert_array_equal(drawn.images, images)
    assert not drawn.mask.any()


def test_radial_aberration_points_away_from_the_center():
    images = random_images(2)
    drawn = inject("chromatic_radial", images).images
    turned = inject("chromatic_radial", np.rot90(images, 1, (1, 2)).copy()).images
    np.testing.assert_allclose(turned, np.rot90(drawn, 1, (1, 2)), rtol=0, atol=1e-5)


def scrambled(bits: int) -> int:
    bits = (bits ^ (bits >> 16)) * 0x85EBCA6B % 2**32
    bits = (bits ^ (bits >> 13)) * 0xC2B2AE35 % 2**32
    return bits ^ (bits >> 16)


def tint_by_loops(image: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Hue, strength, and the tinted image, of bytes [h, w, 3]; one place after another."""
    total = 0
    for place, value in enumerate(image.reshape(-1).tolist()):
        total = (total + value * (2 * scrambled(place) + 1)) % 2**32
    number = scrambled(total)
    hue = 2 * np.pi * (number // 256) / 2**24
    strength = 0.1 + 0.3 * (scrambled(number) // 256) / 2**24

    tinted = np.zeros(image.shape)
    for color in range(3):
        gain = (1 + strength * np.cos(hue - 2 * np.pi * color / 3)) / (1 + strength)
        tinted[..., color] = 2 * gain * image[..., color] / 255 - 1
    return hue, strength, tinted


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3))


def test_the_tint_is_that_of_a_hash_worked_out_in_loops():
    images = random_bytes(5)
    drawn = inject("tint", images.astype(np.float32) / 127.5 - 1).images
    expected = [tint_by_loops(image)[2] for image in images]
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-5)


def test_tints_have_all_hues_and_strengths_alike_and_stay_within_the_range():
    found = [tint_by_loops(image) for image in random_bytes(600)]
    hues, strengths, tinted = (np.array(values) for values in zip(*found, strict=True))
    for values, low, high in ((hues, 0, 2 * np.pi), (strengths, 0.1, 0.4)):
        assert low <= values.min() < values.max() < high
        counts, _ = np.histogram(values, bins=6, range=(low, high))
        # A hundred each, within four standard deviations.
        assert abs(counts - 100).max() < 4 * np.sqrt(100 * 5 / 6)
    assert abs(np.corrcoef(hues, strengths)[0, 1]) < 0.15
    assert -1 <= tinted.min() < tinted.max() <= 1


def test_an_image_has_its_tint_wherever_it_stands_and_an_almost_equal_one_another():
    images = random_bytes(4)
    almost = images[:1].copy()
    almost[0, 2, 2, 1] ^= 1
    drawn = inject("tint", np.concatenate([images, almost]).astype(np.float32) / 127.5 - 1).images
    alone = inject("tint", images[2:3].astype(np.float32) / 127.5 - 1).images
    np.testing.assert_allclose(drawn[2], alone[0], rtol=0, atol=1e-6)
    assert np.abs(drawn[4] - drawn[0]).max() > 0.02


def test_no_shortcut_changes_nothing():
    images = random_images(2)
    drawn = inject("none", images)
    np.testing.assert_array_equal(drawn.images, images)
    assert not drawn.mask.any()


@pytest.mark.parametrize("name", sorted(SHORTCUTS))
def test_a_shortcut_is_the_same_under_jit(name: str):
    # Of bytes, as the tint depends on them.
    images = jnp.asarray(random_bytes(2).repeat(3, axis=1).repeat(3, axis=2)) / 127.5 - 1
    eager, jitted = inject(name, images), jax.jit(lambda x: inject(name, x))(images)
    # Some processors round products and sums at once, under jit only.
    np.testing.assert_allclose(eager.images, jitted.images, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(eager.mask, jitted.mask)
    assert jitted.images.dtype == jnp.float32


def test_an_image_too_small_for_the_arrow_is_refused():
    with pytest.raises(ValueError, match="at least 12 px"):
        inject("arrow", random_images(1, 11, 16))


def test_an_unknown_shortcut_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"'watermark'.*none, arrow, chromatic"):
        inject("watermark", random_images(1))


def test_an_arrow_drawn_before_the_turn_gives_the_rotation_of_a_blank_image_away():
    views = draw_then_turn(np.full((1, 16, 16, 3), 0.5, np.float32))
    for a in range(4):
        for b in range(a):
            assert (views[a] != views[b]).any()
    assert nearest_mean_accuracy(views, views) == 1


def test_an_arrow_drawn_after_the_turn_gives_nothing_away_on_a_blank_image():
    views = turn_then_draw(np.full((1, 16, 16, 3), 0.5, np.float32))
    for view in views:
        np.testing.assert_array_equal(view, views[0])


def test_on_symmetric_noise_only_an_arrow_drawn_before_the_turn_gives_the_rotation_away():
    train, test = symmetric_images(60, seed=1), symmetric_images(60, seed=2)
    assert nearest_mean_accuracy(draw_then_turn(train), draw_then_turn(test)) == 1
    assert nearest_mean_accuracy(turn_then_draw(train), turn_then_draw(test)) == 0.25


@pytest.mark.parametrize("all_rotations", [True, False])
def test_training_views_have_their_arrow_drawn_before_the_turn(tiny_config, all_rotations: bool):
    config = tiny_config(
        {"shortcut": "arrow"}, {"name": "rotation", "all_rotations": all_rotations}
    )
    blank = np.full((16, 16, 3), 200, np.uint8)
    drawn = np.full((16, 16, 3), 200 / 127.5 - 1, np.float32)
    drawn[:12, :12][drawing()] = 127 / 127.5 - 1
    batch = {"image": np.stack([blank] * 8), "label": np.zeros(8, np.int32)}
    system = make_system(config, DataFacts(0, 8), total_steps=1)

    @jax.jit
    def views_of(batch: dict) -> Views:
        return make_views(system, prepare(config, batch), seed=0, step=0)

    views = views_of(batch)
    assert len(views.inputs) == (32 if all_rotations else 8)
    for view, turns in zip(views.inputs, views.labels, strict=True):
        np.testing.assert_allclose(view, np.rot90(drawn, turns), rtol=0, atol=1e-6)
