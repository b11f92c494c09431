"""Runs the real entry points, on networks small enough for a test."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping

REPOSITORY = pathlib.Path(__file__).parents[2]
SECONDS = 400
TINY = (
    "--config.model.width=8",
    "--config.lens.widths=(8, 8)",
    "--config.lens.raw_fraction=1.0",
    "--config.data.batch_size=32",
    "--config.data.threads=1",
    "--config.train.log_every=2 steps",
    # Their programs take as long to compile as the step; those that are about them switch them on.
    "--config.train.monitors=False",
)
# Processes that run commands in forks of their own, see launcher.py, by what JAX was told in its
# variables, which it reads when it is imported; each is started by the first command that needs it.
launchers: dict[frozenset[tuple[str, str]], subprocess.Popen] = {}


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"lens_jax.{module}", *arguments]


def run(
    *words: str, cwd: pathlib.Path = REPOSITORY, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Runs a command to its end, with an interpreter of its own where it is `fresh`.

    A command that has other JAX variables than the test is always fresh, as a launcher for it alone
    would save nothing. So is what is no module of the package.
    """
    is_module = words[0] in (sys.executable, "python") and words[1] == "-m"
    has_own = jax_variables(os.environ | environment) != jax_variables(os.environ)
    if is_module and not fresh and not has_own:
        return run_in_fork(words, cwd, os.environ | environment)
    return subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_in_fork(
    words: tuple[str, ...], cwd: pathlib.Path, environment: dict[str, str]
) -> subprocess.CompletedProcess:
    """Runs `python -m MODULE ARGUMENTS...` in a fork of the launcher for this environment."""
    variables = jax_variables(environment)
    if variables not in launchers:
        launchers[variables] = start_launcher()
    launcher = launchers[variables]
    with tempfile.TemporaryDirectory() as folder:
        output, error = pathlib.Path(folder, "output"), pathlib.Path(folder, "error")
        request = {
            "module": words[2],
            "arguments": words[3:],
            "folder": str(cwd),
            "environment": dict(environment),
            "files": [os.devnull, str(output), str(error)],
            "seconds": SECONDS,
        }
        launcher.stdin.write(json.dumps(request) + "\n")
        launcher.stdin.flush()
        status = int(launcher.stdout.readline())
        return subprocess.CompletedProcess(words, status, output.read_text(), error.read_text())


def jax_variables(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """What an environment tells JAX."""
    return frozenset(item for item in environment.items() if item[0].startswith("JAX_"))


def start_launcher() -> subprocess.Popen:
    """Starts the process whose forks run commands; a crash in one says where it was."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "tests.end_to_end.launcher"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def end_launchers() -> None:
    """Ends the launchers that commands have started."""
    while launchers:
        _, launcher = launchers.popitem()
        launcher.communicate()


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
