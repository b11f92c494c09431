"""The page on runs whose names and settings are made to be taken for HTML."""

import html.parser
import json
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from lens_jax.pages import page
from lens_jax.report import recovery, runs, sections, write
from lens_jax.report.change import compute_statistics
from lens_jax.report.measure import MeasuredLens
from lens_jax.workdir.files import read_config, write_config

RUN = "document.title='taken'"
HOSTILE = (
    f"<script>{RUN}<!--",
    f'"><img src=x onerror="{RUN}">',
    f"' onmouseover='{RUN}' style='position:fixed",
    "&lt;b&gt; &amp; &#60;i&#62; &",
    f"javascript:{RUN}",
    "one\n<h1>line\nor three",
    f"<svg onload={RUN}>$x^2$ %s {{0}} `id` $(id) \\",
)
CLOSING_TAGS = "</pre></td></table></title></style>"
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


class Reader(html.parser.HTMLParser):
    """Collects all text, and the elements with their attributes, but for what pictures hold."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        shortened = [(key, value[:22] if key == "src" else value) for key, value in attrs]
        self.elements.append((tag, shortened))

    def handle_endtag(self, tag):
        self.elements.append((tag, None))

    def handle_comment(self, data):
        self.elements.append(("comment", data))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def make_page(add_run, accuracy, metrics_rows, tmp_path) -> Callable[..., str]:
    """Makes the page on runs with these names, which stand in each of their settings too.

    In the settings of hostile runs, closing tags stand before the name.
    """

    def make(names: tuple[str, ...], parent: str) -> str:
        root = tmp_path / parent
        root.mkdir()
        for index, name in enumerate(names):
            folder = f"{parent}/{index}{name}"
            evaluations = [accuracy(0.5, dataset=name, solver=name)]
            add_run(folder, f"arrow{name}", "network", metrics_rows, evaluations)

            value = CLOSING_TAGS + name if name in HOSTILE else name
            config = read_config(str(tmp_path / folder))
            config["data"] |= {"name": f"glyphs/{value}", "dir": value, f"key{value}": index}
            config["task"]["name"] = value
            config["lens"]["objective"] = value
            write_config(str(tmp_path / folder), config)

        found = runs.find_runs(str(root))
        numbers = {run.name: runs.summarize(run) for run in found}
        recoveries = {run.name: recovery.find_recoveries(run, found) for run in found}
        lenses = {found[0].name: idle_lens()}
        parts = sections.all_sections(str(root), found, lenses, numbers, recoveries)
        return page.document(sections.TITLE, parts)

    return make


def as_run(name: str) -> str:
    """What a run in a folder of that name is called, on one line."""
    return name.replace("\n", "\N{REPLACEMENT CHARACTER}")


def idle_lens() -> MeasuredLens:
    """Two images in two views, which the lens leaves alone."""
    inputs = np.zeros((4, 8, 8, 3))
    mask = np.zeros((4, 8, 8), bool)
    statistics = compute_statistics(inputs, inputs, mask, views_per_image=2)
    return MeasuredLens(inputs, inputs, 2, statistics)


@pytest.fixture
def hostile_page(make_page) -> str:
    """The page on runs with hostile names in a folder with one."""
    return make_page(HOSTILE, "<script>runs&\"'")


def test_no_element_or_attribute_comes_from_a_name(make_page, hostile_page):
    harmless = Reader(make_page(tuple("abcdefg"), "runs"))
    hostile = Reader(hostile_page)
    assert len(harmless.elements) > 100
    assert hostile.elements == harmless.elements


def test_every_name_can_be_read_as_it_is(hostile_page):
    text = "".join(Reader(hostile_page).texts)
    assert f"The lens of run 0{HOSTILE[0]}" in text
    for index, name in enumerate(HOSTILE):
        assert f"Train {index}{as_run(name)} again" in text
        assert f"arrow{name}" in text
        assert f"glyphs/{CLOSING_TAGS}{name}" in text
        assert f"data.key{CLOSING_TAGS}{name}" in text


def test_a_written_report_is_no_other_page(add_run, metrics_rows, tmp_path):
    root = tmp_path / HOSTILE[0]
    root.mkdir()
    for name in HOSTILE:
        add_run(f"{root.name}/{name}", rows=metrics_rows)
    write.write_report(str(root), examples=1, data_dir=None)

    reader = Reader((root / "report" / "index.html").read_text())
    tags = {tag for tag, _ in reader.elements}
    assert {"script", "svg", "comment"}.isdisjoint(tags)
    written = {path.name for path in (root / "report").iterdir()}
    assert written == {"index.html", "curves.png"}
    summary = json.loads((root / "summary.json").read_text())
    assert set(summary) == {as_run(name) for name in HOSTILE}


def test_a_name_that_is_no_text_or_steers_a_terminal_is_made_printable(
    add_run, metrics_rows, tmp_path
):
    (tmp_path / "runs").mkdir()
    add_run("runs/bytes\udcff\x1b[2Jand", rows=metrics_rows)
    write.write_report(str(tmp_path / "runs"), examples=1, data_dir=None)
    text = (tmp_path / "runs" / "report" / "index.html").read_text()
    assert "bytes\ufffd\ufffd[2Jand" in text


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_runs_no_script_but_the_one_of_this_test(hostile_page, tmp_path):
    path = tmp_path / "page.html"
    own_script = "<script>document.title += '!'</script>"
    path.write_text(hostile_page.replace("</body>", f"{own_script}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    shown = subprocess.run(
        [BROWSER, *options, path.as_uri()], capture_output=True, text=True, check=True
    )
    assert f"<title>{sections.TITLE}!</title>" in shown.stdout
    assert shown.stdout.count("<script") == 1
