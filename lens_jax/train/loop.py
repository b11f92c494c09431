"""The training story, from config to last checkpoint."""

import contextlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.data.batches import Batches, Skipped, train_batches
from lens_jax.data.source import Source, open_source
from lens_jax.errors import UserError
from lens_jax.train import checkpoints, log, mesh, optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import Metrics, make_step
from lens_jax.train.system import make_system


class Plan(NamedTuple):
    """What a config comes to: its data, its durations in steps, its first state, and its traced step."""

    source: Source
    clock: Clock
    log_every: int
    save_every: int
    init: Callable[[], TrainState]
    step: jax.stages.Traced


def train(config: ConfigDict, workdir: str) -> None:
    """Trains what `config` describes, or goes on from the newest checkpoint in `workdir`.

    Raises `UserError` for a config that cannot be run, for a `workdir` of another config, for too many
    unreadable images, and at the first loss that is not finite.
    """
    began = time.monotonic()
    configs.check(config)
    devices = mesh.make_mesh()
    plan = make_plan(config, devices)
    claim_workdir(config, workdir)
    skipped = Skipped(plan.source)
    batches = _open_batches(config, plan.source, skipped)

    with contextlib.closing(checkpoints.open_checkpoints(workdir, config.train.keep_checkpoints)) as manager:
        first, state, earlier = _start(plan, manager, devices, batches)
        step_fn = _compile(plan.step, devices)
        with log.open_log(workdir, first, active=jax.process_index() == 0) as write:
            window, opened = [], time.monotonic()
            for step in range(first + 1, plan.clock.total_steps + 1):
                state, metrics = step_fn(state, mesh.put_batch(devices, next(batches)))
                window.append(metrics)
                due = step % plan.save_every == 0 or step == plan.clock.total_steps
                if not due and step % plan.log_every:
                    continue
                scalars = _finite_mean(window, step, workdir)
                scalars |= _timing(plan.clock, step, len(window), time.monotonic() - opened)
                scalars["seconds"] = earlier + time.monotonic() - began
                window, opened = [], time.monotonic()
                write(step, scalars)
                log.report_progress(step, plan.clock.total_steps, scalars)
                skipped.check(config.data.max_skipped)
                if due:
                    run = _run_record(config, plan, batches.get_state(), scalars["seconds"])
                    checkpoints.save(manager, step, state, run)
    print(f"trained to step {plan.clock.total_steps}; checkpoints, metrics and config are in {workdir}")


def make_plan(config: ConfigDict, devices: Mesh) -> Plan:
    """Opens the data and traces the step, which refuses what cannot be; nothing is computed or written."""
    source = open_source(config.data.name, config.data.train_split, config.data.dir)
    clock = Clock(config.data.batch_size, len(source))
    clock = clock._replace(total_steps=clock.steps(config.train.duration))
    if clock.total_steps < 1:
        raise UserError(f"train.duration {config.train.duration!r} is no step at all: give a longer one")
    system = make_system(config, source.num_classes)
    both = optimizers.extractor_optimizer(config, clock), optimizers.lens_optimizer(config)
    init = partial(init_state, config, system, *both)
    return Plan(
        source,
        clock,
        max(1, clock.steps(config.train.log_every)),
        max(1, clock.steps(config.train.checkpoint_every)),
        init,
        _trace(make_step(config, system, *both), init, devices, config),
    )


def _trace(step: Callable, init: Callable, devices: Mesh, config: ConfigDict) -> jax.stages.Traced:
    """The step as a computation on all devices, for states as of `init`; the state is donated."""
    sharding = mesh.replicated(devices)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(init)
    )
    jitted = jax.jit(step, donate_argnums=0, out_shardings=sharding)
    return jitted.trace(state, mesh.put_batch(devices, _empty_batch(config)))


def claim_workdir(config: ConfigDict, workdir: str) -> None:
    """Writes the config into `workdir`; raises `UserError` where another config's run is there."""
    path, new = epath.Path(workdir) / configs.CONFIG_FILE, configs.to_json(config)
    if path.exists():
        changed = configs.difference(json.loads(path.read_text()), new)
        if changed:
            raise UserError(f"{workdir} holds a run of another config: {changed}; give another --workdir")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(new, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to --workdir {workdir}: {error.strerror}; give another one") from error
    jax.config.update("jax_compilation_cache_dir", str(path.parent / "compilation_cache"))


def _open_batches(config: ConfigDict, source: Source, skipped: Skipped) -> Batches:
    return train_batches(
        source,
        skipped,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        crop=config.data.crop,
        seed=config.seed,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=config.data.threads,
    )


def _start(plan: Plan, manager: Any, devices: Mesh, batches: Batches) -> tuple[int, TrainState, float]:
    """The step, state and seconds to go on from: a fresh start, or the newest checkpoint."""
    sharding = mesh.replicated(devices)
    if manager.latest_step() is None:
        state = jax.jit(plan.init, out_shardings=sharding)()
        params = {"network": state.params, "lens": state.lens_params}
        print(parameter_overview.get_parameter_overview(params))
        return 0, state, 0.0
    step, state, run = checkpoints.restore(
        manager, manager.latest_step(), jax.eval_shape(plan.init), sharding
    )
    batches.set_state(run["position"])
    print(f"going on from checkpoint {step} in {manager.directory}")
    return step, state, run["seconds"]


def _compile(step: jax.stages.Traced, devices: Mesh) -> Callable:
    """Compiles ahead of time, so that nothing can recompile later."""
    began = time.monotonic()
    compiled = step.lower().compile()
    seconds, platform = time.monotonic() - began, jax.default_backend()
    print(f"compiled the step in {seconds:.1f} s for {devices.size} {platform} device(s)", flush=True)
    return compiled


def _empty_batch(config: ConfigDict) -> dict[str, np.ndarray]:
    local, size = config.data.batch_size // jax.process_count(), config.data.image_size
    return {"image": np.zeros((local, size, size, 3), np.uint8), "label": np.zeros(local, np.int32)}


def _finite_mean(window: list[Metrics], last: int, workdir: str) -> dict[str, float]:
    """The mean of each metric over the steps up to `last`; raises `UserError` at the first bad loss."""
    rows = jax.device_get(window)
    for step, row in enumerate(rows, last - len(rows) + 1):
        for name, value in row.items():
            if not np.isfinite(value):
                raise UserError(
                    f"{name} is {value} at step {step}: training stopped; the checkpoints in {workdir} are "
                    "from before; lower optimizer.learning_rate or lens.learning_rate in a new --workdir"
                )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _timing(clock: Clock, step: int, steps: int, seconds: float) -> dict[str, float]:
    return {
        "epoch": step * clock.batch_size / clock.epoch_size,
        "seconds_per_step": seconds / steps,
        "images_per_second": steps * clock.batch_size / seconds,
    }


def _run_record(config: ConfigDict, plan: Plan, position: Any, seconds: float) -> dict[str, Any]:
    return {
        "config": configs.to_json(config),
        "class_names": list(plan.source.class_names),
        "total_steps": plan.clock.total_steps,
        "position": position,
        "seconds": seconds,
    }
