import io
import json

import numpy as np
import pytest
from PIL import Image

from lens_jax.errors import UserError
from lens_jax.report import change as changes
from lens_jax.report import chapters, page, pictures, runs, story

ROWS = [{"step": 5, "epoch": 0.5, "seconds": 2.0, "loss": 1.2, "accuracy_raw": 0.4}]


@pytest.fixture
def look() -> pictures.Look:
    """Six images in four views, whose upper left corner the lens brightens."""
    inputs = np.random.default_rng(0).uniform(-1, 0, (24, 16, 16, 3))
    lensed, mask = inputs.copy(), np.zeros((24, 16, 16), bool)
    lensed[:, :4, :4] += 0.5
    mask[:, :4, :2] = True
    return pictures.Look(inputs, lensed, 4, changes.measure(inputs, lensed, mask, 4))


def test_a_report_without_a_lens(add_run, accuracy, capsys):
    add_run("arrow", "arrow", rows=ROWS, evaluations=[accuracy(0.5)])
    folder = add_run("<script>alert(1)<", rows=ROWS)
    story.write_report(str(folder), examples=4, data_dir=None)
    text = (folder / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert json.loads((folder / "summary.json").read_text()) == {
        "<script>alert(1)<": {"seconds": 2.0},
        "arrow": {"linear_accuracy": 0.5, "seconds": 2.0},
    }
    Image.open(folder / "report" / "curves.png").verify()
    printed = capsys.readouterr().out
    assert str(folder / "report" / "index.html") in printed
    assert [line.split() for line in printed.splitlines()][-1] == ["arrow", "50.0", "%", "-", "-", "2", "-"]


def test_one_run_has_no_summary(add_run):
    folder = add_run("clean") / "clean"
    story.write_report(str(folder), examples=4, data_dir=None)
    assert (folder / "report" / "index.html").exists()
    assert not (folder / "summary.json").exists()


def test_a_lens_run_needs_a_checkpoint(add_run):
    with pytest.raises(UserError, match="no checkpoint"):
        story.write_report(str(add_run("lens", lens=True)), examples=4, data_dir=None)


def test_the_chapters_of_a_lens_run(add_run, accuracy, look):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.52)])
    found = runs.find_runs(str(add_run("lens", "arrow", True, ROWS, [accuracy(0.77)])))
    numbers = {run.name: runs.summarize(run, found) for run in found}
    numbers["lens"] |= changes.shares(look.change)
    text = page.document("title", chapters.tell("runs", found, {"lens": look}, numbers))
    assert "lens recovered 89 % of what the shortcut cost" in text
    assert "50.0 % of the squared change lies inside the shortcut&#x27;s mask, which covers 3.1 %" in text
    assert text.count("<img alt=") == text.count("<img ") == 2 + 2 + 2 + 2 + 1


def test_pictures_show_every_example_once(look):
    shown = pictures.example_pictures("lens", look)
    sizes = [Image.open(io.BytesIO(picture.png)).size for picture in shown]
    step = 16 * 11 + 8
    assert sizes == [(44 + 4 * step, 8 + 3 * step), (44 + 2 * step, 8 + 3 * step)]
    assert [picture.caption for picture in shown] == [
        "Images 1 to 4 of the eval split.",
        "Images 5 to 6 of the eval split.",
    ]


def test_an_image_that_is_its_only_view_is_not_shown_twice(look):
    assert len(pictures.view_pictures("lens", look)) == 2
    assert pictures.view_pictures("lens", look._replace(views=1)) == []
