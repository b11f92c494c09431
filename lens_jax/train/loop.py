"""The training story, from config to last checkpoint."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.data.batches import Batches, Skipped, train_batches
from lens_jax.data.decode import read_decoding
from lens_jax.devices import cache, distributed, mesh
from lens_jax.train import compiling, finite, preemption, same_data, warm_start
from lens_jax.train.claim import claim_workdir
from lens_jax.train.progress import Window, report_progress, timing
from lens_jax.train.setup import Setup, facts_of, make_setup
from lens_jax.train.state import TrainState
from lens_jax.train.system import build_task
from lens_jax.train.watch import Watch
from lens_jax.workdir import checkpoints, files, lock
from lens_jax.workdir.metrics import Scalars, open_metrics

# The device has these to do while the host reads; with more, batches would fill its memory.
STEPS_AHEAD = 2

# (step) -> whether this process was told to end after it.
Preempted = Callable[[int], bool]


class Training(NamedTuple):
    """What stays the same while a process trains."""

    config: ConfigDict
    workdir: str
    init: str
    devices: Mesh
    setup: Setup
    manager: Any
    skipped: Skipped
    began: float
    watch: Watch


class Progress(NamedTuple):
    """How far a training is: after `step`, which took `seconds`.

    The data was reordered `rollbacks` times.
    """

    step: int
    state: TrainState
    batches: Batches
    seconds: float
    rollbacks: int


def train(
    config: ConfigDict, workdir: str, *, init: str = "", allow_changed_data: bool = False
) -> None:
    """Trains what `config` describes, or goes on from the newest intact checkpoint in `workdir`.

    A new run begins with the networks of the run in the folder `init`, if one is named. A training
    of no steps saves the networks as they are initialized, to compare others with. A number that is
    not finite ends it, once `train.rollbacks` returns to the last checkpoint are used up. On
    SIGTERM it saves and raises `SystemExit` with `preemption.EXIT_STATUS`.

    Raises `UserError` for a config that cannot be run, for a `workdir` of another config, of
    another run that is still training, or that cannot be written or read again, for data that has
    changed since unless `allow_changed_data`, for too many unreadable images, at the first number
    that is not finite, and at a collapse where `train.on_collapse` says so.
    """
    with preemption.watch() as preempted, open_training(config, workdir, init) as training:
        progress = start(training, allow_changed_data)
        total = training.setup.clock.total_steps
        if total == 0:
            save_untrained(training, progress)
        if progress.step < total:
            step_fn, seconds = compiling.compile_step(training.setup.traced.step)
            devices = f"{training.devices.size} {jax.default_backend()} device(s)"
            print(f"compiled the step in {seconds:.1f} s for {devices}", flush=True)
            training.watch.compile(progress.state)
        while progress.step < total:
            progress = train_or_roll_back(training, progress, step_fn, preempted)
    print(f"trained to step {progress.step}; checkpoints, metrics and config are in {workdir}")


@contextlib.contextmanager
def open_training(config: ConfigDict, workdir: str, init: str) -> Iterator[Training]:
    """Checks and sets up everything before anything is written."""
    began = time.monotonic()
    files.check_name(workdir)
    if init and not checkpoints.saved_steps(workdir):
        warm_start.check(init)
    configs.check(config)
    devices = mesh.make_mesh(config.mesh.fsdp)
    setup = make_setup(config, devices)
    if jax.process_index() == 0:
        print(*setup.source.notes, sep="\n", flush=True)
    watch = Watch(config, setup, devices)
    with lock.hold(workdir):
        init = claim_workdir(config, workdir, init)
        cache.use_cache(workdir)
        with checkpoints.open_for_training(workdir, config.train.keep_checkpoints) as manager:
            skipped = Skipped(setup.source)
            yield Training(config, workdir, init, devices, setup, manager, skipped, began, watch)


def start(training: Training, allow_changed_data: bool = False) -> Progress:
    """Goes on from the newest intact checkpoint, or starts anew, with the networks of `init`."""
    progress = resume(training, allow_changed_data=allow_changed_data)
    if progress is not None:
        return progress
    state = training.setup.traced.init()
    if training.init:
        state = warm_start.begin_from(state, training.init)
    if jax.process_index() == 0:
        params = {"network": state.params, "lens": state.lens_params}
        print(parameter_overview.get_parameter_overview(params))
    return Progress(0, state, open_batches(training, rollbacks=0), 0.0, 0)


def resume(
    training: Training, rollbacks: int | None = None, *, allow_changed_data: bool = False
) -> Progress | None:
    """Reads the newest intact checkpoint; None where there is none.

    The count of roll-backs is the checkpoint's own by default. Raises `UserError` where the data is
    not the checkpoint's, unless that is allowed.
    """
    shapes = training.setup.traced.state
    sharding = jax.tree.map(lambda array: array.sharding, shapes)
    source = training.setup.source
    check = partial(
        same_data.check,
        source=source,
        workdir=training.workdir,
        task=build_task(training.config, facts_of(source)),
        allowed=allow_changed_data,
    )
    restored = checkpoints.restore_newest(training.manager, shapes, sharding, check)
    if restored is None:
        return None
    step, state, run = restored
    if rollbacks is None:
        rollbacks = run["rollbacks"]
    batches = open_batches(training, rollbacks)
    batches.set_state(run["position"])
    print(f"going on from checkpoint {step} in {training.manager.directory}", flush=True)
    return Progress(step, state, batches, run["seconds"], rollbacks)


def open_batches(training: Training, rollbacks: int) -> Batches:
    """The endless training batches, in the order that follows from seed and roll-backs."""
    config = training.config
    return train_batches(
        training.setup.source,
        training.skipped,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        crop=config.data.crop,
        seed=data_seed(config.seed, rollbacks),
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=config.data.threads,
        decoding=read_decoding(config.data),
    )


def data_seed(seed: int, rollbacks: int) -> int:
    """The seed of the data's order and crops: `seed`, and another one after each roll-back."""
    if not rollbacks:
        return seed
    sequence = np.random.SeedSequence((seed, rollbacks))
    return int(sequence.generate_state(1)[0])


def train_or_roll_back(
    training: Training, progress: Progress, step_fn: Callable, preempted: Preempted
) -> Progress:
    """Trains to the end, or to a number that is not finite and back to the last checkpoint."""
    try:
        return train_to_the_end(training, progress, step_fn, preempted)
    except finite.NotFiniteError as error:
        allowed = training.config.train.rollbacks
        used = progress.rollbacks + 1
        if used > allowed or training.manager.latest_step() is None:
            raise
        what = str(error).partition(":")[0]
        print(f"{what}: rolling back, {used} of {allowed} times", flush=True)
    # The data was found the same, or allowed to differ, when this process began.
    resumed = resume(training, used, allow_changed_data=True)
    return resumed._replace(seconds=progress.seconds)


def train_to_the_end(
    training: Training, progress: Progress, step_fn: Callable, preempted: Preempted
) -> Progress:
    """Takes one step after the other, and writes metrics and checkpoints when they are due."""
    setup = training.setup
    total = setup.clock.total_steps
    state, batches = progress.state, progress.batches
    is_first_process = jax.process_index() == 0
    with open_metrics(training.workdir, progress.step, active=is_first_process) as write:
        window = Window()
        for step in range(progress.step + 1, total + 1):
            # The step is only dispatched here: the devices compute while the host reads on.
            batch = next_batch(training, batches, window)
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, batch)
            window.metrics.append(metrics)
            jax.block_until_ready(window.metrics[:-STEPS_AHEAD][-1:])
            checkpoints.check_saved(training.manager)

            stops = preempted(step)
            saves = stops or step % setup.save_every == 0 or step == total
            if not saves and step % setup.log_every != 0:
                continue

            # Metrics are fetched from the devices, which waits for this step to end.
            scalars = summarize(training, window, step)
            if saves and not stops:
                scalars |= training.watch.measure(state)
            scalars["seconds"] = progress.seconds + time.monotonic() - training.began
            window = Window()
            write(step, scalars)
            if is_first_process:
                report_progress(step, total, scalars)
            training.watch.check(step, scalars)
            distributed.check_skipped(training.skipped, training.config.data.max_skipped)

            if saves:
                reached = Progress(step, state, batches, scalars["seconds"], progress.rollbacks)
                record = run_record(training.config, setup, reached)
                checkpoints.save(training.manager, step, state, record)
            if stops and step < total:
                preemption.end_early(step)
    return progress._replace(step=total)


def summarize(training: Training, window: Window, step: int) -> Scalars:
    """The mean metrics of the steps up to `step`, and how fast they were."""
    scalars = finite.mean(window.metrics, step, training.workdir)
    seconds = time.monotonic() - window.began
    steps = len(window.metrics)
    return scalars | timing(training.setup.clock, step, steps, seconds, window.waited)


def save_untrained(training: Training, progress: Progress) -> None:
    """Saves the networks of a training of no steps, unless that was done before."""
    if training.manager.latest_step() is None:
        record = run_record(training.config, training.setup, progress)
        checkpoints.save(training.manager, progress.step, progress.state, record)


def next_batch(training: Training, batches: Batches, window: Window) -> Any:
    """Reads the next batch and puts it on the devices, keeping count of the time spent waiting."""
    began = time.monotonic()
    batch = next(batches)
    window.waited += time.monotonic() - began
    return mesh.put_batch(training.devices, batch)


def run_record(config: ConfigDict, setup: Setup, progress: Progress) -> dict[str, Any]:
    """What a checkpoint holds beside the state."""
    return {
        "config": configs.to_json(config),
        "data": same_data.describe(setup.source),
        "class_names": list(setup.source.class_names),
        "examples": len(setup.source),
        "total_steps": setup.clock.total_steps,
        "position": progress.batches.get_state(),
        "seconds": progress.seconds,
        "rollbacks": progress.rollbacks,
    }
