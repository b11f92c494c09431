"""The second screen, with networks so small that they learn nothing, in a few steps."""

import json
from pathlib import Path

import pytest

from lens_jax.audit import lens_measure, lens_recipe, lens_training
from lens_jax.audit.audit import Options, audit
from lens_jax.audit.lens_parts import LensOptions
from lens_jax.errors import UserError
from lens_jax.workdir.checkpoints import saved_steps

CLASSES = ("one", "other")
BRIEFLY = LensOptions(0.001, ("rotation",))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(lens_recipe, "_WIDTH", 4)
    monkeypatch.setattr(lens_recipe, "_LENS_WIDTHS", (8, 8))
    monkeypatch.setattr(lens_training, "_FIRST_STEPS", 2)
    monkeypatch.setattr(lens_training, "_LOG_EVERY", 1)
    monkeypatch.setattr(lens_training, "LEAST_STEPS", 3)


def run(root: Path, lens: LensOptions) -> dict:
    output = root.parent / "audit"
    audit(Options(str(root), "", str(output), 0, lens))
    return json.loads((output / "findings.json").read_text())


def page(root: Path) -> str:
    return (root.parent / "audit" / "index.html").read_text()


@pytest.mark.slow
def test_a_lens_is_trained_shown_and_not_trained_again(textures, write_folder, monkeypatch):
    root = write_folder(textures(102), CLASSES)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lens_measure, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            run(root, BRIEFLY)
    assert "Missing: looking through the lens of rotation" in page(root)
    assert "The mean image" in page(root) or "Where is it?" in page(root)
    (lens,) = root.parent.glob("audit/lens/*/lens-rotation")
    assert saved_steps(str(lens)) == [3]
    log = lens.with_suffix(".log").read_text()

    findings = run(root, BRIEFLY)
    assert lens.with_suffix(".log").read_text() == log
    assert findings["missing"] == []
    found = findings["lens"]["rotation"]
    assert (found["images"], found["tested"], found["step"]) == (102, 34, 3)
    assert set(found["lenses"]) == {"trained", "shuffled", "random"}
    # As strong as the lens, by construction.
    changes = {name: numbers["change"] for name, numbers in found["lenses"].items()}
    assert changes["random"] == pytest.approx(changes["trained"], rel=1e-4)
    assert set(found["accuracy"]) == {"raw", "lensed", "null", "learned"}
    text = page(root)
    assert "The lens of rotation" in text
    assert "<script" not in text

    # The same lens, on other images, where it is another run's.
    other = write_folder(textures(50, seed=1), CLASSES, "others")
    findings = run(other, LensOptions(checkpoint=str(lens)))
    found = findings["lens"]["checkpoint"]
    assert (found["images"], found["tested"]) == (50, 50)
    assert set(found["lenses"]) == {"trained", "random"}
    assert "The lens of the given lens" not in page(other)


def test_what_cannot_be_trained_is_said(textures, write_folder):
    root = write_folder(textures(60), CLASSES)
    assert run(root, LensOptions())["lens"] == {}
    assert "No lens was trained (--minutes=0)" in page(root)

    findings = run(root, BRIEFLY)
    assert "there are 60 different images" in findings["lens"]["rotation"]["why_not"]
    assert "rotation: not trained, as there are 60" in page(root)
    with pytest.raises(UserError, match="unknown task 'colors'"):
        run(root, LensOptions(1, ("colors",)))
