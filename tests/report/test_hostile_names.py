"""The page on runs whose names and settings are made to be taken for HTML."""

import html.parser
import json
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from lens_jax.pages import html as pages
from lens_jax.report import change, chapters, pictures, runs, write
from lens_jax.workdir.files import read_config, write_config

ROWS = [{"step": 5, "epoch": 0.5, "seconds": 2.0, "loss": 1.2, "accuracy_raw": 0.4}]
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
        self.elements.append(
            (tag, [(key, value[:22] if key == "src" else value) for key, value in attrs])
        )

    def handle_endtag(self, tag):
        self.elements.append((tag, None))

    def handle_comment(self, data):
        self.elements.append(("comment", data))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def tell(add_run, accuracy, tmp_path) -> Callable[..., str]:
    """Makes the page on runs with these names, each of which is also closing tags in each of its settings."""

    def make(names: tuple[str, ...], parent: str) -> str:
        (tmp_path / parent).mkdir()
        for index, name in enumerate(names):
            folder = f"{parent}/{index}{name}"
            add_run(
                folder, f"arrow{name}", "network", ROWS, [accuracy(0.5, dataset=name, solver=name)]
            )
            hostile = "</pre></td></table></title></style>" + name if name in HOSTILE else name
            config = read_config(str(tmp_path / folder))
            config["data"] |= {"name": f"glyphs/{hostile}", "dir": hostile, f"key{hostile}": index}
            config["task"]["name"] = config["lens"]["objective"] = hostile
            write_config(str(tmp_path / folder), config)
        workdir = str(tmp_path / parent)
        found = runs.find_runs(workdir)
        numbers = {run.name: runs.summarize(run, found) for run in found}
        parts = chapters.tell(workdir, found, {run.name: look() for run in found[:1]}, numbers)
        return pages.document(chapters.TITLE, parts)

    return make


def as_run(name: str) -> str:
    """What a run in a folder of that name is called, on one line."""
    return name.replace("\n", "\N{REPLACEMENT CHARACTER}")


def look() -> pictures.Look:
    """Two images in two views, which the lens leaves alone."""
    inputs = np.zeros((4, 8, 8, 3))
    measured = change.measure(inputs, inputs, np.zeros((4, 8, 8), bool), 2)
    return pictures.Look(inputs, inputs, 2, measured)


@pytest.fixture
def hostile_page(tell) -> str:
    """The page on runs with hostile names in a folder with one."""
    return tell(HOSTILE, "<script>runs&\"'")


def test_no_element_or_attribute_comes_from_a_name(tell, hostile_page):
    harmless = Reader(tell(tuple("abcdefg"), "runs"))
    hostile = Reader(hostile_page)
    assert len(harmless.elements) > 100
    assert hostile.elements == harmless.elements


def test_every_name_can_be_read_as_it_is(hostile_page):
    text = "".join(Reader(hostile_page).texts)
    assert f"The lens of run 0{HOSTILE[0]}" in text
    for index, name in enumerate(HOSTILE):
        assert f"Train {index}{as_run(name)} again" in text
        assert f"arrow{name}" in text
        assert f"glyphs/</pre></td></table></title></style>{name}" in text
        assert f"data.key</pre></td></table></title></style>{name}" in text


def test_a_written_report_is_no_other_page(add_run, tmp_path):
    parent = HOSTILE[0]
    (tmp_path / parent).mkdir()
    for name in HOSTILE:
        add_run(f"{parent}/{name}", rows=ROWS)
    write.write_report(str(tmp_path / parent), examples=1, data_dir=None)
    reader = Reader((tmp_path / parent / "report" / "index.html").read_text())
    assert {"script", "svg", "comment"}.isdisjoint(tag for tag, _ in reader.elements)
    assert {path.name for path in (tmp_path / parent / "report").iterdir()} == {
        "index.html",
        "curves.png",
    }
    assert set(json.loads((tmp_path / parent / "summary.json").read_text())) == set(
        map(as_run, HOSTILE)
    )


def test_a_folder_whose_name_is_no_text_or_steers_a_terminal_has_a_name_that_can_be_shown(
    add_run, tmp_path
):
    (tmp_path / "runs").mkdir()
    add_run("runs/bytes\udcff\x1b[2Jand", rows=ROWS)
    write.write_report(str(tmp_path / "runs"), examples=1, data_dir=None)
    page = (tmp_path / "runs" / "report" / "index.html").read_text()
    assert "bytes\ufffd\ufffd[2Jand" in page


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_runs_no_script_but_the_one_of_this_test(hostile_page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        hostile_page.replace("</body>", "<script>document.title += '!'</script></body>")
    )
    options = [
        "--headless",
        "--no-sandbox",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    shown = subprocess.run(
        [BROWSER, *options, path.as_uri()], capture_output=True, text=True, check=True
    )
    assert f"<title>{chapters.TITLE}!</title>" in shown.stdout
    assert shown.stdout.count("<script") == 1
