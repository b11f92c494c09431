import json

import pytest
from PIL import Image

from lens_jax.errors import UserError
from lens_jax.report.write import write_report


def test_a_report_without_a_lens(add_run, accuracy, metrics_rows, capsys):
    add_run("arrow", "arrow", rows=metrics_rows, evaluations=[accuracy(0.5)])
    folder = add_run("<script>alert(1)<", rows=metrics_rows)
    write_report(str(folder), examples=4, data_dir=None)

    text = (folder / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert json.loads((folder / "summary.json").read_text()) == {
        "<script>alert(1)<": {"seconds": 2.0},
        "arrow": {
            "linear_accuracy_raw": 0.5,
            "seconds": 2.0,
            "measured_on": "glyphs, 2,000 images, online network",
        },
    }
    Image.open(folder / "report" / "curves.png").verify()

    printed = capsys.readouterr().out
    assert str(folder / "report" / "index.html") in printed
    *_, table_line, measured_on, _, last_line = printed.splitlines()
    assert last_line == f"the report is {folder / 'report' / 'index.html'}"
    assert measured_on == "arrow: measured on glyphs, 2,000 images, online network"
    assert table_line.split() == ["arrow", "50.0", "%", "2"]


def test_one_run_has_no_summary(add_run):
    folder = add_run("clean") / "clean"
    write_report(str(folder), examples=4, data_dir=None)
    assert (folder / "report" / "index.html").exists()
    assert not (folder / "summary.json").exists()


def test_a_lens_run_needs_a_checkpoint(add_run):
    folder = add_run("lens", kind="network")
    with pytest.raises(UserError, match="no checkpoint"):
        write_report(str(folder), examples=4, data_dir=None)


def test_a_folder_that_cannot_be_written_costs_no_number(add_run, accuracy, metrics_rows, capsys):
    folder = add_run("arrow", "arrow", rows=metrics_rows, evaluations=[accuracy(0.5)])
    (folder / "report").write_text("a file in the place of the folder")
    with pytest.raises(UserError, match=f"cannot write to {folder}: .*give another folder"):
        write_report(str(folder), examples=4, data_dir=None)
    assert "50.0 %" in capsys.readouterr().out
