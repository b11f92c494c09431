"""Which checkpoints an evaluation job evaluates, and when it has evaluated them all."""

import time
from collections.abc import Iterator

import jax

from lens_jax.devices.distributed import gather
from lens_jax.errors import UserError
from lens_jax.eval import weights
from lens_jax.eval.frozen import Frozen, load
from lens_jax.workdir.checkpoints import DamagedError, saved_steps

POLL_SECONDS = 2.0


def follow(workdir: str, *, to_the_end: bool, wait: bool) -> Iterator[Frozen]:
    """Yields the newest checkpoint or, `to_the_end`, every one until the last of the training.

    Weights, see `eval.weights`, are a checkpoint that comes once.

    Several processes, all of which must call this, get the same checkpoints. One that is damaged is
    passed over, with a line that says so; as the newest, the one before takes its place.

    Args:
      workdir: the folder of a run, or weights.
      to_the_end: go on with every new checkpoint. When several came while one was evaluated, all
        that are still kept are yielded in order.
      wait: before the first checkpoint, wait for it.

    Raises:
      UserError: there is no checkpoint yet, and `wait` is False; or none can be read.

    """
    if weights.is_weights(workdir):
        yield weights.load(workdir)
        return
    _await_first(workdir, wait)
    done: set[int] = set()
    while True:
        # What is new since the last look, oldest first, or newest first if one is enough.
        kept = _common_steps(workdir)
        # A damaged checkpoint that training set aside comes again under its old number.
        done &= set(kept)
        new = [step for step in kept if step not in done]
        if not to_the_end:
            new.reverse()

        for step in new:
            frozen = _load_if_intact(workdir, step)
            done.add(step)
            if frozen is None:
                continue
            yield frozen
            if not to_the_end or frozen.step >= frozen.run["total_steps"]:
                return

        # All that there were are damaged; a job that follows waits for others.
        if not to_the_end:
            raise UserError(
                f"no checkpoint in {workdir} can be read: give the folder of another run"
            )
        time.sleep(POLL_SECONDS)


def _await_first(workdir: str, wait: bool) -> None:
    if _common_steps(workdir):
        return
    if not wait:
        raise UserError(
            f"no checkpoint in {workdir} yet: start later, or without --once to wait for one"
        )
    _print_once(f"waiting for the first checkpoint in {workdir}")
    while not _common_steps(workdir):
        time.sleep(POLL_SECONDS)


def _common_steps(workdir: str) -> list[int]:
    """The steps of the checkpoints that all processes find, each at a moment of its own."""
    found = gather(saved_steps(workdir))
    return sorted(set.intersection(*map(set, found)))


def _load_if_intact(workdir: str, step: int) -> Frozen | None:
    """Reads a checkpoint; None where any process finds it damaged, deleted or moved by training."""
    frozen, fault = _try_to_load(workdir, step)
    # All processes take the same decision, and the first fault stands for all.
    faults = [each for each in gather(fault) if each is not None]
    if not faults:
        return frozen
    _print_once(faults[0])
    return None


def _try_to_load(workdir: str, step: int) -> tuple[Frozen | None, str | None]:
    """Reads a checkpoint; instead, None and the reason where it must be passed over."""
    try:
        return load(workdir, step), None
    except (FileNotFoundError, ValueError, KeyError) as error:
        # One that is deleted while it is read fails in many ways.
        if step not in saved_steps(workdir):
            fault = f"checkpoint {step} was deleted before it was read"
            return None, f"{fault}: raise train.keep_checkpoints"
        if isinstance(error, DamagedError):
            return None, f"{error}; passing it over"
        raise


def _print_once(line: str) -> None:
    """Prints a line, in one of the processes."""
    if jax.process_index() == 0:
        print(line, flush=True)
