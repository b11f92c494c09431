"""The audit on folders whose answer is known."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lens_jax.audit import audit as audits
from lens_jax.audit import known, marks, parts
from lens_jax.audit.audit import Options, audit
from lens_jax.data.builders import png
from lens_jax.errors import UserError

CLASSES = ("one", "other")


@pytest.fixture(autouse=True)
def _few_copies(monkeypatch):
    """Marks are planted into few images: what is found of them has tests of its own."""
    monkeypatch.setattr(known, "MAX_COPIES", 30)
    monkeypatch.setattr(marks, "FEWER_COPIES", 15)
    monkeypatch.setattr(marks, "MOST_PLANTED", 5)


def run(root: Path, seed: int = 0, labels: str = "") -> dict:
    """The findings of an audit, which lies beside the folder."""
    output = root.parent / "audit"
    audit(Options(str(root), labels, str(output), seed))
    return json.loads((output / "findings.json").read_text())


def told(findings: dict) -> set[str]:
    return {probe["name"] for probe in findings["probes"] if probe["is_told"]}


def page(root: Path) -> str:
    return (root.parent / "audit" / "index.html").read_text()


@pytest.mark.parametrize("seed", range(3))
def test_images_without_a_relation_to_their_labels_give_no_finding(textures, write_folder, seed):
    root = write_folder(textures(80, seed=seed), CLASSES)
    findings = run(root, seed)
    assert told(findings) == set()
    assert findings["map"] == []
    assert findings["headline"].startswith("No label was told better than shuffled ones")
    assert findings["missing"] == []


def test_a_fixed_patch_is_told_by_the_border_and_framed_at_its_place(textures, write_folder):
    images = textures(80)
    images[::2, 1:4, 20:23] = 255
    findings = run(write_folder(images, CLASSES))
    assert {"border", "thumbnail"} <= told(findings)
    assert not told(findings) & {"file_name", "metadata"}
    assert "a small spot at the top right" in findings["headline"]
    (spot,) = {tuple(found["spot"].values()) for found in findings["map"]}
    np.testing.assert_allclose(spot, [1 / 24, 20 / 24, 4 / 24, 23 / 24], atol=0.05)


def test_two_qualities_of_jpeg_are_told_without_the_picture(textures, tmp_path):
    for number, image in enumerate(textures(80)):
        label = number % 2
        folder = tmp_path / "images" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number * 37 % 80}.jpg", quality=(60, 90)[label])
    findings = run(tmp_path / "images")
    assert findings["headline"].startswith("The label can be told without looking at the picture")
    assert "JPEG quality" in findings["headline"]
    assert "100 of 100 pairs" in findings["headline"]
    assert "60: 40" in page(tmp_path / "images")
    quality = findings["probes"][0]
    assert (quality["name"], quality["meaning"]) == ("jpeg_quality", "beside the picture")
    assert quality["best"]["value"] == 1


def test_a_shifted_channel_is_told_by_fringes_beyond_looks(textures, write_folder):
    images = textures(120)
    gray = images[..., :1].repeat(3, axis=-1)
    gray[::2, :, 1:, 0] = gray[::2, :, :-1, 0].copy()
    findings = run(write_folder(gray, CLASSES))
    assert "color_fringe" in told(findings)


def test_names_are_told_from_each_other(textures, tmp_path):
    for number, image in enumerate(textures(80)):
        path = tmp_path / "images" / CLASSES[number % 2] / f"{'ab'[number % 2]}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.encode(image))
    findings = run(tmp_path / "images")
    assert told(findings) == {"file_name"}
    assert "nothing but file name" in findings["headline"]


def test_an_interrupted_audit_says_what_is_missing_and_goes_on(textures, write_folder, monkeypatch):
    root = write_folder(textures(60), CLASSES)
    calls = []

    def counted(name, compute):
        def call(found):
            calls.append(name)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return compute(found)

        return call

    watched = [part._replace(compute=counted(part.name, part.compute)) for part in parts.PARTS]
    monkeypatch.setattr(audits, "PARTS", watched)
    with pytest.raises(KeyboardInterrupt):
        run(root)
    assert "This page is not finished. Missing: asking the blind probes" in page(root)
    assert "What was read" in page(root)

    run(root)
    assert calls == ["reading", "duplicates", "probes", "probes", "maps", "marks", "advice"]
    assert "not finished" not in page(root)
    # Another seed, or another file, begins anew.
    run(root, seed=1)
    assert calls[7:] == ["reading", "duplicates", "probes", "maps", "marks", "advice"]


def test_broken_and_repeated_files_are_flagged(textures, write_folder):
    images = textures(60)
    root = write_folder(images, ("train/one", "train/other", "test/one"))
    (root / "train/one/=1+1.png").write_bytes(b"no image")
    copied = sorted((root / "test/one").iterdir())[0]
    (root / "train/other/copy.png").write_bytes(copied.read_bytes())
    findings = run(root)
    assert findings["duplicates"] == {"same bytes": 1}
    text = (root.parent / "audit" / "flagged.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["kind"] for row in rows] == ["broken", "same bytes, across splits, two labels"]
    assert rows[0]["file"] == "train/one/=1+1.png"
    assert rows[1]["file"] == "train/other/copy.png"


@pytest.mark.parametrize("count", [1, 10])
def test_few_images_make_a_page_without_a_claim(textures, write_folder, count):
    root = write_folder(textures(count), CLASSES)
    findings = run(root)
    assert findings["probes"] == findings["map"] == []
    assert findings["headline"].startswith("Nothing can be said about labels")
    assert "The mean image" in page(root)


def test_one_image_many_times_is_one_image(textures, write_folder):
    root = write_folder(textures(1).repeat(60, axis=0), CLASSES)
    findings = run(root)
    assert findings["duplicates"] == {"same bytes": 59}
    assert findings["headline"].startswith("Nothing can be said about labels")


def test_images_of_any_size_and_one_class_make_a_page(textures, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for side in (1, 8, 24):
        image = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        (root / f"{side}.png").write_bytes(png.encode(image))
    wide = np.zeros((4, 3000, 3), np.uint8)
    (root / "wide.png").write_bytes(png.encode(wide))
    findings = run(root)
    assert "no file of labels" in findings["headline"]
    assert "3000 x 4" in page(root)


def test_nothing_but_broken_files_is_a_page(tmp_path):
    for label in CLASSES:
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "1.png").write_bytes(b"")
    findings = run(tmp_path / "images")
    assert findings["headline"].startswith("Nothing can be said about labels")


def test_of_many_classes_some_are_asked_and_it_is_said(textures, write_folder, monkeypatch):
    monkeypatch.setattr("lens_jax.audit.folder.MAX_CLASSES", 2)
    root = write_folder(textures(66), ("a", "b", "c"))
    findings = run(root)
    assert findings["probes"]
    assert "1 classes were not looked at" in page(root)


def test_hostile_names_are_shown_and_never_obeyed(textures, write_folder):
    hostile = "<script>alert(1)</script>".replace("/", "\N{DIVISION SLASH}")
    root = write_folder(textures(60), (hostile, "esc\x1b[2J\udcff"))
    (root / hostile / "<img src=x>.png").write_bytes(b"broken")
    run(root)
    text = page(root)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "esc\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" in text


def test_an_output_that_cannot_be_written_is_one_clear_line(textures, write_folder, tmp_path):
    root = write_folder(textures(4), CLASSES)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        audit(Options(str(root), "", str(tmp_path / "file" / "audit"), 0))
