"""Which checkpoints an evaluation job looks at, and when it has seen them all."""

import time
from collections.abc import Iterator

import jax

from lens_jax.devices.distributed import gather
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, load
from lens_jax.workdir.checkpoints import DamagedError, saved_steps

POLL_SECONDS = 2.0


def follow(workdir: str, *, to_the_end: bool, wait: bool) -> Iterator[Frozen]:
    """Yields the newest checkpoint; `to_the_end` every new one too, until the last of the training.

    Before the first checkpoint it waits and says so, or with `wait` False raises `UserError`. When
    several checkpoints came while one was evaluated, all that are still kept are yielded in order.
    One that is damaged is passed over with a line that says so, the newest in favour of the one
    before. Several processes, all of which must ask, get the same ones.
    """
    _await_first(workdir, wait)
    seen: set[int] = set()
    while True:
        kept = _steps_seen(workdir)
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
            raise UserError(
                f"no checkpoint in {workdir} can be read: give the folder of another run"
            )
        time.sleep(POLL_SECONDS)


def _await_first(workdir: str, wait: bool) -> None:
    if _steps_seen(workdir):
        return
    if not wait:
        raise UserError(
            f"no checkpoint in {workdir} yet: start later, or without --once to wait for one"
        )
    _say(f"waiting for the first checkpoint in {workdir}")
    while not _steps_seen(workdir):
        time.sleep(POLL_SECONDS)


def _steps_seen(workdir: str) -> list[int]:
    """The steps of the checkpoints that all processes see: each looks at a moment of its own."""
    return sorted(set.intersection(*map(set, gather(saved_steps(workdir)))))


def _load_if_intact(workdir: str, step: int) -> Frozen | None:
    """Reads a checkpoint; None where a process finds it damaged, or deleted or moved by training."""
    found = _load_or_fault(workdir, step)
    faults = [fault for fault in gather(found if isinstance(found, str) else None) if fault]
    if not faults:
        return found
    _say(faults[0])
    return None


def _load_or_fault(workdir: str, step: int) -> Frozen | str:
    """Reads a checkpoint, or tells why it is to be passed over."""
    try:
        return load(workdir, step)
    except (FileNotFoundError, ValueError, KeyError) as error:
        if step not in saved_steps(workdir):
            return f"checkpoint {step} was deleted before it was read: raise train.keep_checkpoints"
        if isinstance(error, DamagedError):
            return f"{error}; passing it over"
        raise


def _say(line: str) -> None:
    """Prints a line, once for all processes."""
    if jax.process_index() == 0:
        print(line, flush=True)
