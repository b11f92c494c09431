"""The jobs of a sweep, one a run, all checked before the first one starts."""

from typing import Any, NamedTuple

from etils import epath
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.devices.mesh import make_mesh
from lens_jax.errors import UserError
from lens_jax.eval.frozen import check_network
from lens_jax.eval.options import (
    Options,
    describe_data,
    open_sources,
    resolve_representations,
    resolve_shortcut,
    resolve_taps,
)
from lens_jax.sweep.grid import Run, row_name
from lens_jax.train.setup import facts_of, make_setup
from lens_jax.train.system import make_system
from lens_jax.workdir import files


class Requirements(NamedTuple):
    """What a run must have done to be finished.

    Attributes:
      total_steps: the step of its last checkpoint.
      evaluations: the evaluations of that checkpoint, one a representation.
      data: what the evaluations are measured on, by `workdir.results.DATA_KEYS`.

    """

    total_steps: int
    evaluations: tuple[Options, ...]
    data: dict[str, Any]


class Job(NamedTuple):
    """A run, its work directory, and what it must have done to be finished."""

    run: Run
    workdir: str
    required: Requirements


def make_jobs(
    runs: list[Run], workdir: str, options: Options, representations: tuple[str, ...]
) -> list[Job]:
    """The jobs of `runs`, in their order; nothing is trained or written.

    Args:
      runs: what to train.
      workdir: the folder for the runs' folders.
      options: of the evaluations; the representation among them is replaced.
      representations: () is raw, lensed and concat; without a lens it is always raw alone.

    Raises:
      UserError: for the first run that cannot be trained or evaluated so, and for one whose folder
        holds a run of another config.

    """
    # Runs that differ only in their seeds require the same, which takes a second to find out.
    required: dict[str, Requirements] = {}
    jobs = []
    for run in runs:
        row = row_name(run)
        if row not in required:
            required[row] = _find_requirements(run.config, options, representations)
        folder = epath.Path(workdir) / run.name
        jobs.append(Job(run, str(folder), required[row]))

    for job in jobs:
        _check_folder(job)
    return jobs


def _find_requirements(
    config: ConfigDict, options: Options, representations: tuple[str, ...]
) -> Requirements:
    """Checks that a config can be trained and evaluated; traces its step, but computes nothing."""
    # Each of these refuses what cannot be: the training, the data, the taps, the network and the
    # shortcut.
    setup = make_setup(config, make_mesh(config.mesh.fsdp))
    total_steps = setup.clock.total_steps
    system = make_system(config, facts_of(setup.source), total_steps)
    train, test = open_sources(config, options)
    described = describe_data(train, test)
    resolve_taps(system, options)
    check_network(system, options.network)
    shortcut = resolve_shortcut(config, options)

    # Of the runs of a sweep, some may have no lens, and then have only one representation.
    names = representations if system.lens.trains else ()
    evaluations = []
    for representation in resolve_representations(system, names):
        evaluations.append(options._replace(representation=representation, shortcut=shortcut))
    return Requirements(total_steps, tuple(evaluations), described)


def _check_folder(job: Job) -> None:
    # A run that goes on must have the config that it began with.
    if not files.is_run(job.workdir):
        return
    old = files.read_config(job.workdir)
    new = configs.to_json(job.run.config)
    changed = configs.difference(old, new)
    if changed:
        raise UserError(
            f"{job.workdir} holds a run of another config: {changed}; give another --workdir"
        )
