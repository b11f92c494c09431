import re
import shlex

import numpy as np
import PIL.Image
import pytest

from tests.clips import write_clip

from .commands import REPOSITORY, succeed
from .test_quickstart import SHRUNKEN

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
MADE_HERE = ("README.md", "docs", "runs")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder that looks like the repository, with a place of its own for what commands write."""
    folder = tmp_path_factory.mktemp("clone")
    for path in REPOSITORY.iterdir():
        if path.name not in MADE_HERE and not path.name.startswith(".git"):
            (folder / path.name).symlink_to(path)
    photos = folder / "photos" / "train"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(6):
        PIL.Image.fromarray(rng.integers(0, 256, (80, 90, 3), np.uint8)).save(
            photos / f"{index}.jpg"
        )
    (folder / "videos").mkdir()
    write_clip(folder / "videos" / "clip.mp4", frames=40)
    return folder


def commands(block: str) -> list[list[str]]:
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


def shortened(words: list[str]) -> list[str]:
    """The same command on tiny networks for two steps, or on few examples; scripts only print."""
    if words[0] == "bash":
        return [*words, "--dry-run"] if "quickstart" in words[1] else ["bash", "-n", *words[1:]]
    if "lens_jax.sweep" in words:
        return [*words, "--dry_run"]
    if "lens_jax.linear_eval" in words:
        return [*words, "--examples=64"]
    return [*words, *SHRUNKEN] if "lens_jax.main" in words else words


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split()[:5]))
def test_the_commands_of_the_readme_run(block, clone, data):
    for words in commands(block):
        assert words[0] in ("bash", "python"), words
        succeed(*shortened(words), cwd=clone, TFDS_DATA_DIR=str(data))


def test_the_files_that_the_readme_names_are_there():
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        name, _, section = target.partition("#")
        file = REPOSITORY / name

        assert file.exists(), target
        assert not section or section in sections(file), target


def sections(page):
    """Returns the names by which links reach the headings of a Markdown page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
