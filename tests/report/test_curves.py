import io

import pytest
from PIL import Image

from lens_jax.pages import figures
from lens_jax.report.curves import curve_pictures, draw_curves
from lens_jax.report.runs import find_runs

PLAIN = [{"epoch": 1, "loss": 1.0}]
ATTACKED = [{"epoch": 1, "loss": 1.0, "lens_reconstruction": 0.1}]
STEERED = [{"epoch": 1, "loss": 1.0, "lens_reconstruction": 0.1, "lens_penalty": 90.0}]


def size(png: bytes) -> tuple[int, int]:
    """The width and the height of a PNG file."""
    return Image.open(io.BytesIO(png)).size


@pytest.mark.parametrize("name", ["clean", "_old", "a$b^$", "<b>"])
def test_curves_take_any_name(name):
    rows = [
        {"epoch": 1, "loss": 1.0, "accuracy_raw": 0.5},
        {"epoch": 2, "loss": 0.5, "accuracy_raw": 0.5},
    ]
    lens = [{"epoch": 1, "loss": 1.0, "accuracy_lensed": 0.3, "lens_reconstruction": 0.1}]
    assert size(draw_curves({name: rows})) == (840, 852)
    assert size(draw_curves({name: rows, "lens": lens})) == (840, 1236)


def test_a_panel_is_there_for_what_any_run_has_logged():
    active = [{"epoch": 1, "loss": 1.0, "active_raw": 0.9}]
    runs = {}
    assert size(draw_curves({"active": active})) == (840, 468)
    for name, rows, height in (
        ("plain", PLAIN, 468),
        ("attacked", ATTACKED, 852),
        ("steered", STEERED, 1236),
    ):
        runs[name] = rows
        assert size(draw_curves(runs)) == (840, height)


@pytest.mark.parametrize(
    ("metrics", "panels"),
    [
        ({"probe_accuracy": 0.5, "knn_accuracy": 0.6}, 1),
        ({"embedding_std": 0.5, "embedding_rank": 3.0}, 2),
        ({"feature_std": 0.5, "rankme": 9.0, "alpha_req": 1.0}, 3),
        ({"alignment": 0.5, "uniformity": -2.0}, 1),
        ({"relative_equivariance_raw": 1.2, "test_relative_equivariance": 1.1}, 1),
        ({"absolute_equivariance_raw": 0.2, "test_relative_equivariance": 1.1}, 2),
    ],
)
def test_what_is_watched_has_panels_of_its_own(metrics: dict[str, float], panels: int):
    rows = [{"epoch": epoch, "loss": 1.0, **metrics} for epoch in (1, 2)]
    assert size(draw_curves({"watched": rows})) == (840, 468 + 384 * panels)


def test_a_name_changes_the_legend():
    assert draw_curves({"_old": PLAIN}) != draw_curves({"": PLAIN})


def test_the_penalty_is_a_curve_where_it_is_steered_alone(add_run):
    add_run("fixed", kind="network", rows=STEERED)
    folder = add_run("steered", kind="network", rows=STEERED, budget="target")
    found = find_runs(str(folder))
    (fixed,) = curve_pictures(found[:1])
    (both,) = curve_pictures(found)
    assert size(both.png)[1] - size(fixed.png)[1] == 3.2 * figures.DPI
    assert found[0].rows == STEERED


def test_no_picture_where_nothing_was_logged(add_run):
    found = find_runs(str(add_run("fresh")))
    assert curve_pictures(found) == []
