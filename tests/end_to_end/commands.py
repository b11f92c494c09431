"""Runs the real entry points in subprocesses, on networks small enough for a test."""

import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[2]
TINY = (
    "--config.model.width=8",
    "--config.lens.widths=(8, 8)",
    "--config.lens.raw_fraction=1.0",
    "--config.data.batch_size=32",
    "--config.data.threads=1",
    "--config.train.log_every=2 steps",
)


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"lens_jax.{module}", *arguments]


def run(
    *words: str, cwd: pathlib.Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def succeed(*words: str, **options: str) -> str:
    result = run(*words, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def train(
    workdir: pathlib.Path, data: pathlib.Path, *options: str, config: str = "rotation"
) -> list[str]:
    """The command that trains a tiny lens and extractor on digits."""
    return command(
        "main",
        f"--config=configs/{config}.py:digits",
        f"--workdir={workdir}",
        f"--config.data.dir={data}",
        *TINY,
        *options,
    )
