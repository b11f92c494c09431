"""Which checkpoints an evaluation job looks at, and when it has seen them all."""

import time
from collections.abc import Iterator

from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, load
from lens_jax.train.checkpoints import saved_steps

POLL_SECONDS = 2.0


def follow(workdir: str, *, to_the_end: bool, wait: bool) -> Iterator[Frozen]:
    """Yields the newest checkpoint; `to_the_end` every new one too, until the last of the training.

    Before the first checkpoint it waits and says so, or with `wait` False raises `UserError`. When
    several checkpoints came while one was evaluated, all that are still kept are yielded in order.
    """
    seen = -1
    while True:
        steps = [step for step in saved_steps(workdir) if step > seen]
        if not steps and seen < 0:
            if not wait:
                raise UserError(
                    f"no checkpoint in {workdir} yet: start later, or without --once to wait for one"
                )
            print(f"waiting for the first checkpoint in {workdir}", flush=True)
            while not saved_steps(workdir):
                time.sleep(POLL_SECONDS)
            continue
        for step in steps if to_the_end else steps[-1:]:
            frozen = _load_if_kept(workdir, step)
            seen = step
            if frozen is not None:
                yield frozen
                if not to_the_end or frozen.step >= frozen.run["total_steps"]:
                    return
        time.sleep(POLL_SECONDS)


def _load_if_kept(workdir: str, step: int) -> Frozen | None:
    """Reads a checkpoint, or None where training deleted it meanwhile to keep only the newest ones."""
    try:
        return load(workdir, step)
    except (FileNotFoundError, ValueError, KeyError):
        if step in saved_steps(workdir):
            raise
        print(f"checkpoint {step} was deleted before it was read: raise train.keep_checkpoints")
        return None
