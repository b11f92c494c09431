"""What each run of a sweep has to reach, checked for all of them before the first one starts."""

from typing import NamedTuple

import jax
from etils import epath
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.devices.mesh import make_mesh
from lens_jax.errors import UserError, check_choice
from lens_jax.eval import evaluate
from lens_jax.eval.features import REPRESENTATIONS
from lens_jax.eval.frozen import Frozen
from lens_jax.sweep.grid import Run, row_name
from lens_jax.train.loop import make_plan
from lens_jax.train.system import make_system
from lens_jax.workdir import files


class Goal(NamedTuple):
    """When a run is finished.

    Attributes:
      total_steps: the step of its last checkpoint.
      questions: what that checkpoint is asked, one question a representation.
      train_examples: number of images that each classifier learns on.

    """

    total_steps: int
    questions: tuple[evaluate.Question, ...]
    train_examples: int


class Job(NamedTuple):
    """A run, its work directory and its goal."""

    run: Run
    folder: str
    goal: Goal


def make_jobs(
    runs: list[Run], workdir: str, question: evaluate.Question, representations: tuple[str, ...]
) -> list[Job]:
    """The jobs of `runs`, in their order; nothing is trained or written.

    `representations` () stands for raw, lensed and concat; a run without a lens is always asked for
    raw alone. Raises `UserError` for the first run that cannot be trained or evaluated so, and for
    one whose folder holds a run of another config.
    """
    for name in representations:
        check_choice("representation", name, REPRESENTATIONS)
    # Runs that differ only in their seeds have the same goal, which takes a second to find.
    rows = {row_name(run): run.config for run in runs}
    goals = {row: _make_goal(config, question, representations) for row, config in rows.items()}
    jobs = [Job(run, str(epath.Path(workdir) / run.name), goals[row_name(run)]) for run in runs]
    for job in jobs:
        _check_folder(job)
    return jobs


def _make_goal(
    config: ConfigDict, question: evaluate.Question, representations: tuple[str, ...]
) -> Goal:
    plan = make_plan(config, make_mesh(config.mesh.fsdp))
    system = make_system(config, plan.source.num_classes)
    train_source, _ = evaluate.open_sources(config, question)
    question = question._replace(shortcut=evaluate.chosen_shortcut(config, question))

    def check_taps() -> None:
        evaluate.chosen_taps(Frozen(0, config, {}, system, plan.init()), question)

    # Traced, not computed: the shapes of the parameters are enough.
    jax.eval_shape(check_taps)
    kinds = (representations or ("raw", "lensed", "concat")) if system.lens else ("raw",)
    questions = tuple(question._replace(representation=kind) for kind in kinds)
    return Goal(plan.clock.total_steps, questions, len(train_source))


def _check_folder(job: Job) -> None:
    if not files.is_run(job.folder):
        return
    changed = configs.difference(files.read_config(job.folder), configs.to_json(job.run.config))
    if changed:
        raise UserError(
            f"{job.folder} holds a run of another config: {changed}; give another --workdir"
        )
