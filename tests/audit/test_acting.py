"""What follows from findings: advice, a comparison, an exit status."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from lens_jax.audit import advice, comparison
from lens_jax.audit.audit import Options, audit
from lens_jax.audit.findings import Finding
from lens_jax.errors import UserError

CLASSES = ("one", "two", "three", "four")


@pytest.mark.slow
def test_a_mark_is_flagged_and_gone_once_it_is_covered(textures, write_folder, tmp_path):
    images = textures(160)
    plain = write_folder(images, CLASSES, "plain")
    audit(Options(str(plain), "", str(tmp_path / "plain_audit"), 0))
    images[0:120:4, 1:4, 20:23] = 255
    root = write_folder(images, CLASSES, "marked")
    output = tmp_path / "audit"
    highest = audit(Options(str(root), "", str(output), 0))
    assert highest > 10
    findings = json.loads((output / "findings.json").read_text())
    assert findings["highest_score"] == highest
    treatments = {each["title"]: each for each in findings["advice"]["treatments"]}
    covered = treatments["the place covered with the mean around it"]
    assert max(covered["after"]) < highest / 2
    assert 0 < covered["changes"] < 5

    text = (output / "flagged.csv").read_text()
    marked = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["kind"].startswith("mark"):
            marked[row["file"]] = row
    assert len(marked) >= 15
    assert all(path.startswith("one/") for path in marked)

    # The same command again, as a process: nothing is computed, and the status tells.
    words = [sys.executable, "-m", "lens_jax.audit", f"--images={plain}"]
    words += [f"--output={tmp_path / 'plain_audit'}", f"--compare={output}"]
    run = subprocess.run([*words, "--fail_above=5"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "gone" in (tmp_path / "plain_audit" / "index.html").read_text()
    words = [sys.executable, "-m", "lens_jax.audit", f"--images={root}", f"--output={output}"]
    run = subprocess.run([*words, "--fail_above=5"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "above 5" in run.stderr


def test_findings_are_compared_by_what_and_class():
    def finding(title: str, score: float) -> Finding:
        return Finding("mark", "patch", title, "cat", score, None)

    before = [finding("a", 20), finding("b", 30), finding("c", 9)]
    now = [finding("a", 19), finding("b", 12), finding("d", 5)]
    verdicts = {change.title: change.verdict for change in comparison.compare(before, now)}
    assert verdicts == {"a": "as before", "b": "less", "c": "gone", "d": "new"}


@pytest.mark.parametrize("content", [None, "{", "[]", '{"findings": [{}]}'])
def test_an_audit_that_is_none_is_one_clear_line(tmp_path, content):
    if content is not None:
        (tmp_path / "findings.json").write_text(content)
    with pytest.raises(UserError, match="no audit at --compare"):
        comparison.read_findings(str(tmp_path))


def test_a_box_is_covered_and_the_rest_stays():
    image = np.full((32, 32, 3), 90, np.uint8)
    image[2:5, 26:29] = 255
    box = {"top": 2 / 32, "left": 26 / 32, "bottom": 5 / 32, "right": 29 / 32}
    covered = advice.cover(image, [box])
    np.testing.assert_allclose(covered, 90, atol=2)


def test_as_much_is_cropped_as_a_place_needs():
    box = {"top": 0.0, "left": 0.85, "bottom": 0.1, "right": 0.95}
    finding = Finding("mark", "fixed", "", "", 1.0, box)
    titles = [each.title for each in advice.choose_treatments([finding])]
    assert "13 % cropped of each side" in titles
    middle = finding._replace(box={"top": 0.4, "left": 0.4, "bottom": 0.6, "right": 0.6})
    titles = [each.title for each in advice.choose_treatments([middle])]
    assert not any("cropped" in title for title in titles)
    assert advice.crop(np.zeros((20, 40, 3), np.uint8), 0.1).shape == (16, 32, 3)
