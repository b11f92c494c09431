"""The audit as a user starts it."""

import numpy as np

from lens_jax.data.builders import png

from .commands import command, run, succeed


def test_a_folder_becomes_a_page_and_a_mistake_one_line(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(50):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number * 7 % 50}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (16, 16, 3), np.uint8)
        path.write_bytes(png.encode(image))
    output = tmp_path / "audit"
    words = command("audit", f"--images={tmp_path / 'images'}", f"--output={output}")
    printed = succeed(*words)
    assert f"the page is {output / 'index.html'}" in printed
    text = (output / "index.html").read_text()
    for heading in ("What your images give away", "What was read", "What this page cannot see"):
        assert heading in text
    assert "50" in text

    # Nothing is repeated.
    assert "..." not in succeed(*words)

    result = run(*command("audit", f"--images={tmp_path / 'none'}", f"--output={output}"))
    assert result.returncode == 1
    assert "error: no folder at" in result.stderr
    assert "Traceback" not in result.stderr
