import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from lens_jax.command_line import configs_folder, rewrite
from lens_jax.errors import UserError

REPOSITORY = pathlib.Path(__file__).parents[1]


def test_a_path_may_begin_with_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = ["--workdir=~/runs/mine", "--config.data.dir=~/photos", "--grid=a=~/b", "--x=~other"]
    assert rewrite(words) == [
        "--workdir=/home/me/runs/mine",
        "--config.data.dir=/home/me/photos",
        "--grid=a=~/b",
        "--x=~other",
    ]


@pytest.mark.parametrize("words", [["--config=rotation:glyphs"], ["--config", "rotation:glyphs"]])
def test_a_config_is_found_by_its_name(words: list[str]):
    found = " ".join(rewrite(words)).removeprefix("--config").strip("= ")
    assert found == f"{REPOSITORY / 'configs' / 'rotation.py'}:glyphs"


def test_the_path_of_a_config_stays_as_it_is():
    words = ["--config=mine.py:digits", "--config=folder/rotation", "--workdir", "rotation"]
    assert rewrite(words) == words


def test_an_unknown_config_is_named_with_those_that_there_are():
    with pytest.raises(UserError, match=r"unknown config 'rotations': .* moco, .* rotation"):
        rewrite(["--config=rotations"])


def test_lambda_needs_no_underscore():
    assert rewrite(["--config.lens.lambda=3"]) == ["--config.lens.lambda_=3"]
    assert rewrite(["--config.lens.lambda", "3"]) == ["--config.lens.lambda_", "3"]


def test_the_last_of_two_flags_for_a_key_counts():
    words = ["--config.lens.widths=(1,)", "--x=1", "--config.lens.widths=(2, 3)", "--x=2"]
    assert rewrite(words) == ["--x=1", "--config.lens.widths=(2, 3)", "--x=2"]


def test_a_wheel_brings_its_configs_to_any_folder(tmp_path):
    # Building writes beside the sources.
    source = tmp_path / "source"
    source.mkdir()
    for name in ("lens_jax", "configs"):
        shutil.copytree(
            REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
    subprocess.run([*pip, *options, str(source)], check=True, cwd=tmp_path)
    shutil.rmtree(source)

    (wheel,) = tmp_path.glob("lens_jax-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    names = [path.name for path in (installed / "lens_jax" / "configs").glob("*.py")]
    assert sorted(names) == sorted(path.name for path in configs_folder().glob("*.py"))

    # The package comes from the wheel, the config from the package, and a value of it is refused.
    words = ["--config=rotation:digits", "--workdir=run", "--config.lens.lambda=-1"]
    refused = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(str(installed)), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.stderr.splitlines()[-1:] == [
        "error: lens.lambda_ is -1.0: it must lie between 0 and inf"
    ]
    assert refused.stdout.strip() == str(installed / "lens_jax" / "configs")


PROGRAM = """
import runpy, sys
sys.path.insert(0, {!r})
from lens_jax.command_line import configs_folder
print(configs_folder())
runpy.run_module("lens_jax.main", run_name="__main__", alter_sys=True)
"""


def test_an_end_that_python_cannot_raise_prints_no_traceback_and_an_error_does():
    """As when SIGTERM comes amid the collection of garbage."""
    script = (
        "import gc, sys\n"
        "from lens_jax import cli\n"
        "def main():\n"
        "    gc.callbacks.append(lambda *_: {})\n"
        "    gc.collect()\n"
        "    gc.callbacks.clear()\n"
        "    print('went on')\n"
        "cli.run(main)\n"
    )

    def stderr_of(callback: str) -> str:
        words = (sys.executable, "-c", script.format(callback))
        result = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert result.stdout == "went on\n"
        return result.stderr

    assert "Traceback" not in stderr_of("sys.exit(75)")
    assert "ZeroDivisionError" in stderr_of("1 / 0")
