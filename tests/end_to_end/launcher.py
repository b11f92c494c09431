"""Runs many commands at the price of one start of the interpreter.

    python -m tests.end_to_end.launcher

Importing takes most of the time of a small command. So this process imports what commands need,
once, and forks for each request, a line of JSON on its standard input: the fork runs the module as
`python -m` does, and its exit status is the answer on standard output. Nothing is computed before
the fork, which would be unsafe with the threads that JAX and TensorFlow start for that.

A fork differs from a fresh start in that more is imported already. What is about imports, their
time or what they print needs a start of its own.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

IMPORTED = (
    "clu.metric_writers",
    "lens_jax.eval.evaluate",
    "lens_jax.report.write",
    "lens_jax.train.loop",
    "tensorflow_datasets",
)


def main() -> None:
    """Answers requests until there are no more."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # else every fork would go through, and so copy, all that was imported
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(**json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(
    module: str,
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    files: list[str],
    seconds: int,
) -> Any:
    """Becomes the command in this process; `files` are its standard input, output and error."""
    signal.alarm(seconds)  # the signal ends a command that hangs
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(files):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [module, *arguments]
    sys.path[0] = folder
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
