"""Checks in a minute whether a machine, or every worker of a pod, is fit to train.

    python -m lens_jax.check
    python -m lens_jax.check --config=configs/rotation.py --workdir=gs://BUCKET/run

Run it there before the first training. It prints a line for each thing that training needs, "ok
..." or "problem ...", and ends with status 1 where there is a problem. With a config, it decodes a
batch of its data and takes its step; with a work directory, it writes there. Nothing is left behind
but the compiled step, in the work directory's cache.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

from absl import flags
from ml_collections import config_flags

from lens_jax import cli
from lens_jax.errors import UserError, one_line

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config; by default one step of tiny networks."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder that training is to write to; none by default."
)

# A name, and a function that returns what it found, if anything, or raises what is wrong.
Check = tuple[str, Callable[[], str | None]]


def main() -> None:
    """Checks one thing after the other, and exits with 1 after any problem."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.check import machine
    from lens_jax.devices import distributed

    all_ok = report("versions", machine.versions)
    if not report("processes", distributed.start):
        sys.exit(1)  # the checks of the devices would wait for the missing process for ever
    for name, check in checks():
        all_ok &= report(name, check)
    sys.exit(0 if all_ok else 1)


def checks() -> Iterator[Check]:
    """What to check once all processes are connected."""
    from lens_jax import config as configs
    from lens_jax.check import machine

    config = CONFIG.value or machine.tiny_config()
    yield "devices", machine.devices
    yield "mesh", machine.all_reduce
    yield "memory", machine.memory
    yield "config", partial(configs.check, config)
    if CONFIG.value:
        yield "data", partial(machine.data, config)
    if WORKDIR.value:
        yield "workdir", partial(machine.workdir, WORKDIR.value, config)
        yield "compilation cache", partial(machine.compilation_cache, WORKDIR.value)
    yield "step", partial(machine.one_step, config, with_data=bool(CONFIG.value))


def report(name: str, check: Callable[[], str | None]) -> bool:
    """Prints the line of one check; returns whether there was no problem."""
    try:
        found = check()
    except Exception as error:  # of any kind: the user has to know it
        print(f"problem {name}: {describe(error)}", flush=True)
        return False
    print(f"ok {name}: {found}" if found else f"ok {name}", flush=True)
    return True


def describe(error: Exception) -> str:
    """One line for an exception, with its type unless it is a `UserError`."""
    text = one_line(error)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    cli.run(main)
