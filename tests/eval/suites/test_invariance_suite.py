import numpy as np
import pytest

from lens_jax.data import factors
from lens_jax.data.builders import png
from lens_jax.data.factors import glyphs
from lens_jax.errors import UserError
from lens_jax.eval.factors import measure_spread
from lens_jax.eval.invariance import measure_scores
from lens_jax.eval.job import run_suite
from lens_jax.eval.suites import parse
from lens_jax.eval.suites.invariance import PUBLISHED, Invariance
from lens_jax.pages import page


@pytest.fixture
def few_letters(monkeypatch):
    """Twenty sets of three letters for each of two factors."""
    factors.open_factors.cache_clear()
    monkeypatch.setattr(glyphs, "SETS", 20)
    monkeypatch.setattr(glyphs, "IMAGES", 3)
    monkeypatch.setattr(glyphs, "FACTORS", ("illumination_color", "instance_viewpoint"))
    yield
    factors.open_factors.cache_clear()


def test_the_numbers_are_the_scores_of_each_factor(make_subject, few_letters, make_frozen):
    subject = make_subject()
    suite = Invariance(k=(3, 5), shuffles=2)
    result = run_suite(subject, suite)
    numbers = result["numbers"]

    # The same images, read without cropping, and put into the same sets.
    whole = make_subject(make_frozen({"lens.kind": "none", "data.linear_crop": "none"}))
    opened = factors.open_factors("glyph_factors", "", 16)
    values = []
    for factor in glyphs.FACTORS:
        source, sets = opened[factor]
        rows = whole.rows(source)
        features = rows.taps["pre_logits"]
        for k, score in measure_scores(features, sets, rows.labels, (3, 5), 2).items():
            assert numbers[f"top{k}/{factor}"] == score.value
            assert numbers[f"chance{k}/{factor}"] == score.chance
            assert numbers[f"chance_se{k}/{factor}"] == score.chance_error
        assert numbers[f"spread/{factor}"] == measure_spread(features, sets).ratio
        values.append(numbers[f"top3/{factor}"])
    assert next(iter(numbers)) == "top3"
    assert numbers["top3"] == pytest.approx(np.mean(values))
    assert set(result["data"]) == set(glyphs.FACTORS)
    expected = "illumination color, instance + viewpoint: 60 images of glyph_factors in 20 sets"
    assert expected in result["protocol"]
    assert "p=10 %" in result["protocol"]
    assert "8 units of tap pre_logits" in result["protocol"]

    table, _, warning, published = suite.tell(numbers)
    for factor in ("illumination color", "instance + viewpoint"):
        assert factor in table
        assert factor in published
    assert f"{numbers['top3/illumination_color']:.2f}" in table
    assert "do not compare" in warning
    assert "99.38" in published


def test_images_that_do_not_decode_leave_their_sets(make_subject, tmp_path, make_frozen):
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        folder = tmp_path / "png2" / str(number)
        folder.mkdir(parents=True)
        for angle in range(4):
            image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            (folder / f"{number}_r{angle}.png").write_bytes(png.encode(image))
    (tmp_path / "png2" / "2" / "2_r1.png").write_bytes(b"no image")

    (suite,) = parse(f"invariance(data=aloi,folder={tmp_path / 'png2'},k=2,shuffles=3)")
    subject = make_subject()
    suite.check(subject)
    numbers = suite.measure(subject)

    whole = make_subject(make_frozen({"lens.kind": "none", "data.linear_crop": "none"}))
    rows = whole.rows(suite.sources(subject)["viewpoint"])
    sets = np.array([1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    (score,) = measure_scores(rows.taps["pre_logits"], sets, sets, (2,), 3).values()
    assert numbers["top2/viewpoint"] == score.value
    assert numbers["chance2/viewpoint"] == score.chance


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        (Invariance(k=(8, 9)), "k=9, and there are 8 units: choose a k from 1 to 8"),
        (Invariance(k=(0,)), "k=0"),
        (Invariance(k=()), "has no k: give one"),
        (Invariance(shuffles=1), "shuffles of suite 'invariance' is 1: it must lie between 2"),
        (Invariance(data="coil"), "unknown data of suite 'invariance' 'coil': choose one of glyph"),
        (Invariance(data="got10k"), "no folder for got10k: give one such as"),
        (Invariance(data="aloi", folder="/none"), "no folder at '/none': expected the folder png2"),
    ],
)
def test_options_without_sense_are_refused(make_subject, suite: Invariance, words: str):
    with pytest.raises(UserError, match=words):
        suite.check(make_subject())


def test_published_scores_fall_with_the_number_of_units():
    for scores in PUBLISHED.values():
        assert tuple(scores) == glyphs.FACTORS
        assert all(ten > twenty_five for ten, twenty_five in scores.values())
    parts = Invariance().published()
    assert not any(isinstance(part, list) for part in parts)
    assert page.document("title", parts).count("<tr>") == 7
