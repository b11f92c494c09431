"""The training story, from config to last checkpoint."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.data.batches import Batches, Skipped, train_batches
from lens_jax.data.source import Source, open_source
from lens_jax.devices import cache, distributed, mesh
from lens_jax.errors import UserError
from lens_jax.train import compiling, finite, preemption
from lens_jax.train.durations import Clock
from lens_jax.train.progress import report_progress
from lens_jax.train.state import TrainState
from lens_jax.workdir import checkpoints, files, lock
from lens_jax.workdir.metrics import open_metrics

# The device has these to do while the host reads; were it more, batches would fill the device's
# memory.
STEPS_AHEAD = 2


class Plan(NamedTuple):
    """What a config comes to: its data, its durations in steps, its first state, and its traced step."""

    source: Source
    clock: Clock
    log_every: int
    save_every: int
    init: Callable[[], TrainState]
    step: jax.stages.Traced


class Session(NamedTuple):
    """What stays the same while a process trains."""

    config: ConfigDict
    workdir: str
    devices: Mesh
    plan: Plan
    manager: Any
    skipped: Skipped
    began: float


class Place(NamedTuple):
    """Where training goes on: after `step`, which took `seconds`, in data reordered `rollbacks` times."""

    step: int
    state: TrainState
    batches: Batches
    seconds: float
    rollbacks: int


def train(config: ConfigDict, workdir: str) -> None:
    """Trains what `config` describes, or goes on from the newest intact checkpoint in `workdir`.

    A number that is not finite ends it, once `train.rollbacks` returns to the last checkpoint are
    used up. On SIGTERM it saves and raises `SystemExit` with `preemption.EXIT_STATUS`.

    Raises `UserError` for a config that cannot be run, for a `workdir` of another config, of
    another run that is still training, or that cannot be written, for too many unreadable images,
    and at the first number that is not finite.
    """
    with preemption.watch() as preempted, _open_session(config, workdir) as session:
        place = _start(session)
        step_fn, seconds = compiling.compile_step(session.plan.step)
        where = f"{session.devices.size} {jax.default_backend()} device(s)"
        print(f"compiled the step in {seconds:.1f} s for {where}", flush=True)
        while place.step < session.plan.clock.total_steps:
            place = _train_or_roll_back(session, place, step_fn, preempted)
    print(f"trained to step {place.step}; checkpoints, metrics and config are in {workdir}")


@contextlib.contextmanager
def _open_session(config: ConfigDict, workdir: str) -> Iterator[Session]:
    """Checks and plans everything before anything is written."""
    began = time.monotonic()
    configs.check(config)
    devices = mesh.make_mesh(config.mesh.fsdp)
    plan = make_plan(config, devices)
    with lock.hold(workdir):
        claim_workdir(config, workdir)
        cache.use_cache(workdir)
        with checkpoints.open_for_training(workdir, config.train.keep_checkpoints) as manager:
            yield Session(config, workdir, devices, plan, manager, Skipped(plan.source), began)


def _train_or_roll_back(
    session: Session, place: Place, step_fn: Callable, preempted: Callable[[int], bool]
) -> Place:
    """Trains to the end, or to a number that is not finite and back to the last checkpoint if allowed."""
    try:
        return _train_to_the_end(session, place, step_fn, preempted)
    except finite.NotFiniteError as error:
        allowed, used = session.config.train.rollbacks, place.rollbacks + 1
        if used > allowed or session.manager.latest_step() is None:
            raise
        print(
            f"{str(error).partition(':')[0]}: rolling back, {used} of {allowed} times", flush=True
        )
    return _resume(session, used)._replace(seconds=place.seconds)


def _train_to_the_end(
    session: Session, place: Place, step_fn: Callable, preempted: Callable[[int], bool]
) -> Place:
    config, workdir, devices, plan, manager, skipped, began = session
    total, state, batches = plan.clock.total_steps, place.state, place.batches
    with open_metrics(workdir, place.step, active=jax.process_index() == 0) as write:
        window, opened, waited = [], time.monotonic(), 0.0
        for step in range(place.step + 1, total + 1):
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            batch = mesh.put_batch(devices, batch)
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, batch)
            window.append(metrics)
            jax.block_until_ready(window[:-STEPS_AHEAD][-1:])
            checkpoints.check_saved(manager)
            stop = preempted(step)
            due = stop or step % plan.save_every == 0 or step == total
            if not due and step % plan.log_every:
                continue
            scalars = finite.mean(window, step, workdir)
            scalars |= _timing(plan.clock, step, len(window), time.monotonic() - opened, waited)
            scalars["seconds"] = place.seconds + time.monotonic() - began
            window, opened, waited = [], time.monotonic(), 0.0
            write(step, scalars)
            if jax.process_index() == 0:
                report_progress(step, total, scalars)
            distributed.check_skipped(skipped, config.data.max_skipped)
            if due:
                now = Place(step, state, batches, scalars["seconds"], place.rollbacks)
                checkpoints.save(manager, step, state, _run_record(config, plan, now))
            if stop and step < total:
                _end_early(step)
    return place._replace(step=total)


def _end_early(step: int) -> NoReturn:
    print(f"preempted: saving at step {step} and ending; start again to go on", flush=True)
    raise SystemExit(preemption.EXIT_STATUS)


def make_plan(config: ConfigDict, devices: Mesh) -> Plan:
    """Opens the data and traces the step, which refuses what cannot be; nothing is computed or written."""
    source = open_source(config.data.name, config.data.train_split, config.data.dir)
    clock = Clock(config.data.batch_size, len(source))
    clock = clock._replace(total_steps=clock.steps(config.train.duration))
    if clock.total_steps < 1:
        raise UserError(
            f"train.duration {config.train.duration!r} is no step at all: give a longer one"
        )
    log_every, save_every = (
        max(1, clock.steps(every))
        for every in (config.train.log_every, config.train.checkpoint_every)
    )
    return Plan(
        source,
        clock,
        log_every,
        save_every,
        *compiling.trace(config, source.num_classes, clock, devices),
    )


def claim_workdir(config: ConfigDict, workdir: str) -> None:
    """Writes the config into `workdir`; raises `UserError` where another config's run is there.

    The first process writes for all.
    """
    new = configs.to_json(config)
    if files.is_run(workdir):
        changed = configs.difference(files.read_config(workdir), new)
        if changed:
            raise UserError(
                f"{workdir} holds a run of another config: {changed}; give another --workdir"
            )
    if jax.process_index() == 0:
        files.write_config(workdir, new)


def _open_batches(session: Session, rollbacks: int) -> Batches:
    config = session.config
    return train_batches(
        session.plan.source,
        session.skipped,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        crop=config.data.crop,
        seed=data_seed(config.seed, rollbacks),
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=config.data.threads,
    )


def data_seed(seed: int, rollbacks: int) -> int:
    """The seed of the data's order and crops: `seed`, and another one after each roll-back."""
    return (
        int(np.random.SeedSequence((seed, rollbacks)).generate_state(1)[0]) if rollbacks else seed
    )


def _start(session: Session) -> Place:
    """The place to go on from: a fresh start, or the newest intact checkpoint."""
    place = _resume(session)
    if place is not None:
        return place
    state = session.plan.init()
    if jax.process_index() == 0:
        params = {"network": state.params, "lens": state.lens_params}
        print(parameter_overview.get_parameter_overview(params))
    return Place(0, state, _open_batches(session, 0), 0.0, 0)


def _resume(session: Session, rollbacks: int | None = None) -> Place | None:
    """The newest intact checkpoint, with its own count of roll-backs by default; None where there is none."""
    like = jax.eval_shape(session.plan.init)
    sharding = mesh.state_sharding(session.devices, like)
    restored = checkpoints.restore_newest(session.manager, like, sharding)
    if restored is None:
        return None
    step, state, run = restored
    rollbacks = run.get("rollbacks", 0) if rollbacks is None else rollbacks
    batches = _open_batches(session, rollbacks)
    batches.set_state(run["position"])
    print(f"going on from checkpoint {step} in {session.manager.directory}", flush=True)
    return Place(step, state, batches, run["seconds"], rollbacks)


def _timing(clock: Clock, step: int, steps: int, seconds: float, waited: float) -> dict[str, float]:
    return {
        "epoch": step * clock.batch_size / clock.epoch_size,
        "seconds_per_step": seconds / steps,
        "images_per_second": steps * clock.batch_size / seconds,
        "input_wait": waited / seconds,
    }


def _run_record(config: ConfigDict, plan: Plan, place: Place) -> dict[str, Any]:
    return {
        "config": configs.to_json(config),
        "class_names": list(plan.source.class_names),
        "total_steps": plan.clock.total_steps,
        "position": place.batches.get_state(),
        "seconds": place.seconds,
        "rollbacks": place.rollbacks,
    }
