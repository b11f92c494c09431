"""Tells in a minute whether a machine, or every worker of a pod, is fit to train: run it there
first.

    python -m lens_jax.check
    python -m lens_jax.check --config=configs/rotation.py --workdir=gs://BUCKET/run

Prints a line for each thing that training needs, "ok ..." or "problem ...", and ends with status 1
where there is a problem. With a config, it decodes a batch of its data and takes its step; with a
work directory, it writes there. Nothing is left behind but the compiled step, in the work
directory's cache.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

from absl import flags
from ml_collections import config_flags

from lens_jax import cli
from lens_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config; by default one step of tiny networks."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder that training is to write to; none by default."
)

Check = tuple[str, Callable[[], str | None]]


def main() -> None:
    """Checks one thing after the other, and exits with 1 after any problem."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.check import machine
    from lens_jax.devices import distributed

    good = tell("versions", machine.versions)
    if not tell("processes", distributed.start):
        sys.exit(1)  # devices would wait for the missing process for ever
    sys.exit(not all([good, *(tell(*check) for check in checks())]))


def checks() -> Iterator[Check]:
    """What to check once all processes are there, each with its name."""
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


def tell(name: str, ask: Callable[[], str | None]) -> bool:
    """Prints what `ask` found, if anything, or what it raised; gives whether it was well."""
    try:
        found = ask()
    except Exception as error:  # whatever it is, it is what the user has to know
        print(f"problem {name}: {explain(error)}", flush=True)
        return False
    print(f"ok {name}: {found}" if found else f"ok {name}", flush=True)
    return True


def explain(error: Exception) -> str:
    """One line for an exception of any kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    cli.run(main)
