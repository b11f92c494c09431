"""Which checkpoints an evaluation job looks at, and when it has seen them all."""

import time
from collections.abc import Iterator

from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, load
from lens_jax.train.checkpoints import DamagedError, saved_steps

POLL_SECONDS = 2.0


def follow(workdir: str, *, to_the_end: bool, wait: bool) -> Iterator[Frozen]:
    """Yields the newest checkpoint; `to_the_end` every new one too, until the last of the training.

    Before the first checkpoint it waits and says so, or with `wait` False raises `UserError`. When
    several checkpoints came while one was evaluated, all that are still kept are yielded in order. One
    that is damaged is passed over with a line that says so, the newest in favour of the one before.
    """
    _await_first(workdir, wait)
    seen: set[int] = set()
    while True:
        kept = saved_steps(workdir)
        # A damaged checkpoint that training set aside comes again under its old number.
        seen &= set(kept)
        steps = [step for step in kept if step not in seen]
        for step in steps if to_the_end else reversed(steps):
            frozen = _load_if_intact(workdir, step)
            seen.add(step)
            if frozen is not None:
                yield frozen
                if not to_the_end or frozen.step >= frozen.run["total_steps"]:
                    return
        if not to_the_end:
            raise UserError(f"no checkpoint in {workdir} can be read: give the folder of another run")
        time.sleep(POLL_SECONDS)


def _await_first(workdir: str, wait: bool) -> None:
    if saved_steps(workdir):
        return
    if not wait:
        raise UserError(f"no checkpoint in {workdir} yet: start later, or without --once to wait for one")
    print(f"waiting for the first checkpoint in {workdir}", flush=True)
    while not saved_steps(workdir):
        time.sleep(POLL_SECONDS)


def _load_if_intact(workdir: str, step: int) -> Frozen | None:
    """Reads a checkpoint; None where it is damaged, or where training deleted or moved it meanwhile."""
    try:
        return load(workdir, step)
    except (FileNotFoundError, ValueError, KeyError) as error:
        if step not in saved_steps(workdir):
            print(f"checkpoint {step} was deleted before it was read: raise train.keep_checkpoints")
        elif isinstance(error, DamagedError):
            print(f"{error}; passing it over", flush=True)
        else:
            raise
        return None
