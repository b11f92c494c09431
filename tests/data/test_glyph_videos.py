import numpy as np
import pytest
from PIL import Image

from lens_jax.data.builders import glyph_frames as frames
from lens_jax.data.builders import glyph_videos as videos
from lens_jax.data.builders.glyph_frames import Factors


@pytest.fixture(scope="module")
def made() -> list[tuple[np.ndarray, list[Factors]]]:
    return [videos.make("train", index, 48) for index in range(4)]


@pytest.fixture
def plain() -> Factors:
    """A letter in the middle, seen from the front, with the bar far away."""
    return Factors(
        label=3,
        font=0,
        scale=0.5,
        letter_color=(1.0, 1.0, 1.0),
        bar_color=(1.0, 0.0, 0.0),
        bar_angle=0.0,
        background_colors=((0.0, 0.0, 0.2), (0.0, 0.0, 0.2)),
        gradient_angle=0.0,
        noise_std=0.0,
        bar=5.0,
    )


def moved(factors: Factors, **changes: float) -> Factors:
    return Factors(**(vars(factors) | changes))


def test_a_video_is_a_function_of_seed_split_and_index(made):
    images, factors = videos.make("train", 2, 48)
    np.testing.assert_array_equal(images, made[2][0])
    assert images.shape == (videos.FRAMES, 48, 48, 3)
    assert factors == made[2][1]
    assert videos.make("train", 2, 64)[1] == factors
    assert videos.make("test", 2, 48)[1] != factors
    with pytest.raises(ValueError, match="validation"):
        videos.make("validation", 0)


def test_what_moves_moves_smoothly_and_the_rest_stays(made):
    moving = ("x", "y", "tilt", "viewpoint", "light", "bar")
    for index, (_, factors) in enumerate(made):
        assert {each.label for each in factors} == {index}
        still = [
            {name: value for name, value in vars(each).items() if name not in moving}
            for each in factors
        ]
        assert all(each == still[0] for each in still)
        for name in moving:
            path = np.array([getattr(each, name) for each in factors])
            # A sine of at most one turn: no step is larger than its steepest part.
            span = {"light": 360.0, "x": 1.0, "y": 1.0}.get(name)
            if span is None:
                low, high = getattr(frames, f"{name.upper()}_RANGE")
                assert low <= path.min() <= path.max() <= high
                span = high - low
            assert 0 < np.abs(np.diff(path)).max() <= np.pi * span / videos.FRAMES


def test_the_box_is_that_of_the_whole_letter_and_inside(made):
    for _, factors in made:
        for each in factors[::6]:
            box, hidden = frames.measure(each)
            assert 0 < box.ymin < box.ymax < 1
            assert 0 < box.xmin < box.xmax < 1
            away, nothing = frames.measure(moved(each, bar=9.0))
            assert away == box
            assert nothing == 0 <= hidden <= 1


def test_a_letter_from_the_front_is_the_letter(plain):
    cover = frames.letter_coverage(plain, 96)
    from lens_jax.data.builders import letters

    drawn = letters.draw(3, 0, 0.0)
    expected = letters.place(drawn, 0.5, 0.5, 0.5, 96)
    assert np.abs(cover - expected).mean() < 0.01
    tilted = frames.letter_coverage(moved(plain, tilt=20.0), 96)
    turned = letters.place(
        np.asarray(Image.fromarray(drawn).rotate(20.0, expand=True, resample=Image.BILINEAR)),
        0.5,
        0.5,
        0.5 * max(Image.fromarray(drawn).rotate(20.0, expand=True).size) / max(drawn.shape),
        96,
    )
    assert np.abs(tilted - turned).mean() < 0.01


def test_points_are_projected_as_by_hand():
    corner = np.array([[0.2, 0.1]])
    np.testing.assert_allclose(frames.project(corner, 0, 0), corner)
    # A quarter turn counter-clockwise takes what is on the right up.
    np.testing.assert_allclose(frames.project(corner, 90, 0), [[0.1, -0.2]], atol=1e-12)
    # Turned by 60 degrees: half as wide, and 0.2 * sin(60) farther from a camera at 2.
    shrunk = 2 / (2 + 0.2 * np.sqrt(3) / 2)
    np.testing.assert_allclose(frames.project(corner, 0, 60), [[0.1 * shrunk, 0.1 * shrunk]])


def test_the_bar_hides_what_it_covers(plain):
    # Upright, through the middle of the image, a quarter of the letter's size wide.
    bar = frames.bar_coverage(moved(plain, bar=0.0), 64)
    np.testing.assert_allclose(bar.sum(axis=1), 64 * 0.5 * 0.25, atol=1)
    assert bar[:, 28:36].min() == pytest.approx(1)
    over = moved(plain, bar=0.0)
    letter = frames.letter_coverage(over, frames.MEASURED_AT)
    expected = (letter * frames.bar_coverage(over, frames.MEASURED_AT)).sum() / letter.sum()
    assert frames.measure(over)[1] == pytest.approx(expected)
    assert 0.05 < expected < 0.9
    image = frames.render(np.random.default_rng(0), over, 64)
    # Red where the bar is, at the height of the letter too.
    assert (image[:, 28:36, 1:] == 0).all()


def test_light_falls_from_its_side(plain):
    for light, brightest in (
        (0, np.s_[:, -1]),
        (90, np.s_[-1]),
        (180, np.s_[:, 0]),
        (270, np.s_[0]),
    ):
        lit = frames.brightness(light, 32)
        assert lit[brightest].min() == pytest.approx(lit.max())
        assert lit.max() == pytest.approx(1, abs=0.02)
        assert lit.min() == pytest.approx(1 - frames.SHADE, abs=0.02)


def test_what_is_stored_is_what_was_made(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "SPLITS", {"train": 2, "test": 1})
    monkeypatch.setattr(videos, "FRAMES", 3)
    builder = videos.GlyphVideos(config="48", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    rows = list(builder.as_data_source("train"))
    assert len(rows) == 6
    for row in rows:
        split, number = row["video"].decode().split("-")
        images, factors = videos.make(split, int(number), 48)
        frame = int(row["frame"])
        np.testing.assert_array_equal(row["image"], images[frame])
        assert row["label"] == factors[frame].label
        box, hidden = frames.measure(factors[frame])
        np.testing.assert_allclose(row["bbox"], box, atol=1e-6)
        assert row["occlusion"] == pytest.approx(hidden)
        for name in ("x", "y", "tilt", "viewpoint", "light", "bar"):
            assert row[name] == pytest.approx(getattr(factors[frame], name), rel=1e-5)


@pytest.mark.parametrize(
    ("factor", "name", "values"),
    [
        ("viewpoint", "viewpoint", [-48.0, -24.0, 0.0, 24.0, 48.0]),
        ("light", "light", [36.0, 108.0, 180.0, 252.0, 324.0]),
        ("occlusion", "bar", [-0.4, -0.2, 0.0, 0.2, 0.4]),
    ],
)
def test_one_factor_is_swept_and_the_others_stay(factor, name, values):
    images = videos.sweep(factor, 3, 5, 48)
    np.testing.assert_array_equal(images, videos.sweep(factor, 3, 5, 48))
    still = videos.sample_still(3)
    assert (still.x, still.y, still.tilt, still.viewpoint, still.light) == (0.5, 0.5, 0, 0, 0)
    for image, value in zip(images, values, strict=True):
        clean = moved(still, **{name: value, "noise_std": 0.0})
        expected = frames.render(np.random.default_rng(0), clean, 48)
        # Nothing but noise is left, of at most 8 of 255.
        difference = image.astype(float) - expected
        assert difference.std() < 9
        assert abs(difference).max() < 50
