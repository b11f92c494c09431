"""Runs the real entry points, on networks small enough for a test."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).parents[2]
SECONDS = 400
TINY = (
    "--config.model.width=8",
    "--config.lens.widths=(8, 8)",
    "--config.lens.raw_fraction=1.0",
    "--config.data.batch_size=32",
    "--config.data.threads=1",
    "--config.train.log_every=2 steps",
)
# One process that runs commands in forks of its own, see launcher.py; started by the first command.
launchers: list[subprocess.Popen] = []


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"lens_jax.{module}", *arguments]


def run(
    *words: str, cwd: pathlib.Path = REPOSITORY, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Runs a command to its end, with an interpreter of its own where it is `fresh`.

    JAX reads its variables when it is imported: a command that has others than the tests is always
    fresh. So is what is no module of the package.
    """
    is_module = words[0] in (sys.executable, "python") and words[1] == "-m"
    own = {name for name, value in environment.items() if os.environ.get(name) != value}
    if is_module and not fresh and not any(name.startswith("JAX_") for name in own):
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
    """Runs `python -m MODULE ARGUMENTS...` in a fork of the launcher."""
    if not launchers:
        launchers.append(start_launcher())
    (launcher,) = launchers
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


def end_launcher() -> None:
    """Ends that process, if any command has started it."""
    while launchers:
        launchers.pop().communicate()


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
