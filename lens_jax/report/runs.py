"""Run folders as plain values: what was trained, and what was measured."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from lens_jax import config as configs
from lens_jax.defaults import DATASETS
from lens_jax.errors import UserError
from lens_jax.pages import page
from lens_jax.workdir import files
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import IDENTITY, Result, describe_data, read_evaluations, read_results

# The variant of a config file that trains on a data set.
VARIANTS = {settings["data"]["name"]: variant for variant, settings in DATASETS.items()}
# What is known of a run, by name: accuracies, "seconds" of training, what a lens recovered.
Numbers = dict[str, float]


class TrainedRun(NamedTuple):
    """A run as its folder holds it.

    Attributes:
      name: name of the folder, printable.
      workdir: path of the folder.
      config: the run's config.
      rows: rows of its metrics, oldest first; empty where nothing was logged.
      evaluation: its newest evaluation; empty where nothing was evaluated yet.
      linear: linear accuracy by representation, of that and of what was evaluated alike.
      init: the folder of the run with whose networks it began, or empty.
      suites: the results of suites, oldest first.

    """

    name: str
    workdir: str
    config: dict[str, Any]
    rows: list[dict[str, float]]
    evaluation: dict[str, Any]
    linear: dict[str, float]
    init: str = ""
    suites: Sequence[Result] = ()

    @property
    def kind(self) -> str:
        """What altered its inputs: "network" (a lens), an attack such as "pgd", or "none"."""
        return self.config["lens"]["kind"]

    @property
    def has_lens(self) -> bool:
        """Whether a lens was trained."""
        return self.kind == "network"

    @property
    def measured_on(self) -> str:
        """The data of the newest evaluation; "" where nothing was evaluated yet."""
        return describe_data(self.evaluation)


def find_runs(workdir: str) -> list[TrainedRun]:
    """The run in `workdir`, or the runs in its direct subfolders.

    Clean runs come first, those with a lens last. Raises `UserError` where there is none, or where
    a file of one is not JSON.
    """
    root = epath.Path(workdir)
    if files.is_run(workdir):
        return [_read_run(root)]
    runs = []
    folders = sorted(root.iterdir()) if root.is_dir() else []
    for folder in folders:
        if files.is_run(str(folder)):
            runs.append(_read_run(folder))
    if not runs:
        raise UserError(
            f"no run in {workdir}: train first, with python -m lens_jax.main --workdir={workdir}"
        )
    return sorted(runs, key=_order)


def _read_run(folder: epath.Path) -> TrainedRun:
    workdir = str(folder)
    record = files.read_record(workdir)
    evaluations = read_results(workdir)
    newest = evaluations[-1] if evaluations else {}
    return TrainedRun(
        name=page.printable(folder.absolute().name),
        workdir=workdir,
        config=configs.complete(record.config),
        rows=read_metrics(workdir),
        evaluation=newest,
        linear=_linear_accuracies(evaluations, newest),
        init=record.init,
        suites=read_evaluations(workdir),
    )


def _linear_accuracies(evaluations: list[Result], newest: Result) -> dict[str, float]:
    """Linear accuracy by representation, of all evaluations that differ in nothing else."""
    accuracies = {}
    for evaluation in evaluations:
        if _without_representation(evaluation) == _without_representation(newest):
            accuracies[evaluation["representation"]] = evaluation["linear_accuracy"]
    return accuracies


def _without_representation(evaluation: Result) -> list[Any]:
    return [evaluation.get(key) for key in IDENTITY if key != "representation"]


def _order(run: TrainedRun) -> tuple[bool, bool, bool, str]:
    # False sorts before True: clean, shortcut, attack, lens; then by name.
    has_shortcut = run.config["shortcut"] != "none"
    return run.has_lens, run.kind != "none", has_shortcut, run.name


def summarize(run: TrainedRun) -> Numbers:
    """The numbers of a run; what is not known is left out."""
    numbers = {}
    for representation, accuracy in run.linear.items():
        numbers[f"linear_accuracy_{representation}"] = accuracy
    for key, value in run.evaluation.items():
        if key.startswith("pretext_accuracy"):
            numbers[key] = value
    if run.rows:
        numbers["seconds"] = run.rows[-1]["seconds"]
    return numbers


def differing_settings(runs: list[TrainedRun]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with its value in each run.

    The value is None in a run that does not have the setting.
    """
    settings = [flatten(run.config) for run in runs]
    keys = set().union(*settings)
    differing = {}
    for key in sorted(keys):
        values = [each.get(key) for each in settings]
        if any(value != values[0] for value in values):
            differing[key] = values
    return differing


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {"lens": {"blocks": 1}} -> {"lens.blocks": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def training_command(run: TrainedRun) -> str:
    """The command that trains such a run again, with every setting, quoted for a shell."""
    task = run.config["task"]["name"]
    # A data set may be named with its TFDS config: glyphs/large.
    variant = VARIANTS[run.config["data"]["name"].partition("/")[0]]
    words = [
        f"--config={task}:{variant}",
        f"--workdir={run.workdir}-again",
    ]
    if run.init:
        words.append(f"--init={run.init}")
    for key, value in flatten(run.config).items():
        # A config has tuples where its JSON has lists.
        setting = tuple(value) if isinstance(value, list) else value
        words.append(f"--config.{key}={setting}")
    quoted = [shlex.quote(word) for word in words]
    return " \\\n  ".join(["python -m lens_jax.main", *quoted])
