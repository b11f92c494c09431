import sys

import pytest

from benchmarks import command
from tests.end_to_end.commands import run


def refuse(*words: str) -> str:
    """Starts a command that must fail with one line, and returns the line."""
    ended = run(sys.executable, *words)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "name",
    [
        "step",
        "peer_torch",
        "augment",
        "conv",
        "memory",
        "chaos",
        "baselines",
        "factors",
        "augmentation_r2",
    ],
)
def test_every_benchmark_answers_help_with_its_command_line_and_flags(name: str):
    ended = run(sys.executable, "-m", f"benchmarks.{name}", "--help")
    assert ended.returncode == 0, ended.stderr
    assert f"    python -m benchmarks.{name}" in ended.stdout
    assert "\n  --" in ended.stdout


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("step", "--steps=0", "flag --steps=0: 0 is not a positive integer"),
        (
            "step",
            "--config=configs/rotation.py:cifar",
            "unknown config variant 'cifar': choose one of imagenet2012, ",
        ),
        (
            "step",
            "--json=nowhere/at/all",
            "--json 'nowhere/at/all' lies in no folder: create 'nowhere/at' first",
        ),
        (
            "step",
            "--config.lens.raw_fraction=0",
            "--config.lens.raw_fraction is what the steps differ in: set another key",
        ),
        ("memory", "--steps=599", "flag --steps=599: "),
        ("chaos", "--points=0", "flag --points=0: "),
        ("chaos", "--jobs=0", "flag --jobs=0: "),
    ],
)
def test_a_mistake_ends_a_benchmark_in_one_line_before_anything_starts(
    name: str, flag: str, message: str
):
    assert refuse("-m", f"benchmarks.{name}", flag).startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("name", "packages"), [("peer_torch", "torch"), ("augment", "torch torchvision")]
)
def test_without_pytorch_a_peer_explains_how_to_get_it(name: str, packages: str):
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"runpy.run_module('benchmarks.{name}', run_name='__main__', alter_sys=True)"
    )
    line = refuse("-c", code)
    assert line.endswith(f"not installed: run `pip install {packages}`")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--steps=3"], [f"--config={command.DEFAULT_CONFIG}", "--steps=3"]),
        (["--config.seed=1"], [f"--config={command.DEFAULT_CONFIG}", "--config.seed=1"]),
        (["--steps=3", "--config=mine.py"], ["--steps=3", "--config=mine.py"]),
        (["-config", "mine.py"], ["-config", "mine.py"]),
    ],
)
def test_a_command_that_names_no_config_gets_the_default_one(
    monkeypatch, words: list[str], expected: list[str]
):
    monkeypatch.setattr(sys, "argv", ["step", *words])
    monkeypatch.setattr("lens_jax.cli.run", lambda main: main())
    command.run(lambda: None)
    assert sys.argv == ["step", *expected]
