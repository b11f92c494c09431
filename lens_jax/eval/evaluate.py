"""What a checkpoint is worth: the accuracy of linear classifiers on it, and of its pretext task."""

import time
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lens_jax.data.source import Source, open_source
from lens_jax.errors import UserError, check_choice
from lens_jax.eval import features, linear
from lens_jax.eval.frozen import Frozen, pretext_accuracy
from lens_jax.ops.shortcuts import SHORTCUTS

SOLVERS = ("lbfgs", "sgd")


class Question(NamedTuple):
    """What is asked of a checkpoint.

    Attributes:
      dataset: the data set to classify; "" is the run's own.
      data_dir: where that data set is; None is the run's data.dir.
      train_split: where the classifiers learn; "" is the run's.
      test_split: where they are judged; "" is the run's.
      examples: number of labeled training examples, evenly spaced; None is all.
      taps: the taps to classify, of which the last gives `linear_accuracy`; () is all.
      representation: one of `features.REPRESENTATIONS`; "" is concat with a lens, raw without.
      solver: one of `SOLVERS`.
      epochs: of the solver "sgd".
      shortcut: for the pretext accuracy; "" is the run's own, or arrow where it has none.

    """

    dataset: str = ""
    data_dir: str | None = None
    train_split: str = ""
    test_split: str = ""
    examples: int | None = None
    taps: tuple[str, ...] = ()
    representation: str = ""
    solver: str = "lbfgs"
    epochs: int = 70
    shortcut: str = ""


def judge(
    frozen: Frozen, question: Question, pretext: dict[str, Any] | None = None
) -> dict[str, Any]:
    """All figures of one checkpoint, and the seconds that they took.

    `pretext` is what `pretext_figures` gave for the same checkpoint and question; by default it is
    measured now. Raises `UserError` for what the checkpoint or its data cannot answer.
    """
    began = time.monotonic()
    figures = linear_figures(frozen, question)
    figures |= pretext_figures(frozen, question) if pretext is None else pretext
    return figures | {"seconds": time.monotonic() - began}


def linear_figures(frozen: Frozen, question: Question) -> dict[str, Any]:
    """The test accuracy, 0 to 1, of one linear classifier on each tap, and on what it was measured."""
    train, test = open_sources(frozen.config, question)
    representation = question.representation or ("concat" if frozen.system.lens else "raw")
    check_choice("representation", representation, features.REPRESENTATIONS)
    check_choice("solver", question.solver, SOLVERS)
    taps = chosen_taps(frozen, question)
    read = features.make_features(frozen, representation, taps)
    if question.solver == "lbfgs":
        accuracy = linear.logistic_regression(frozen, train, test, read)
    else:
        accuracy = linear.sgd_heads(frozen, train, test, read, epochs=question.epochs)
    return {
        "step": frozen.step,
        "dataset": question.dataset or frozen.config.data.name,
        "representation": representation,
        "solver": question.solver,
        "train_examples": len(train),
        "test_examples": len(test),
        "taps": {tap: accuracy[tap] for tap in taps},
        "linear_accuracy": accuracy[taps[-1]],
    }


def pretext_figures(frozen: Frozen, question: Question) -> dict[str, Any]:
    """The pretext accuracy, 0 to 1, on test images without and with the shortcut, raw and lensed."""
    _, test = open_sources(frozen.config, question)
    shortcut = chosen_shortcut(frozen.config, question)
    figures: dict[str, Any] = {"shortcut": shortcut}
    for condition, drawn in (("clean", "none"), ("shortcut", shortcut)):
        for kind, value in pretext_accuracy(frozen, test, drawn).items():
            figures[f"pretext_accuracy_{condition}" + ("_lensed" if kind == "lensed" else "")] = (
                value
            )
    return figures


def open_sources(config: ConfigDict, question: Question) -> tuple[Source, Source]:
    """The images to learn the classifiers on, `examples` of them, and those to judge them on."""
    data = config.data
    name = question.dataset or data.name
    folder = data.dir if question.data_dir is None else question.data_dir
    train = open_source(name, question.train_split or data.train_split, folder)
    test = open_source(name, question.test_split or data.eval_split, folder)
    if train.num_classes < 2:
        raise UserError(f"data set {name!r} has no classes to learn: give a --dataset with labels")
    return train.subsample(question.examples or len(train)), test


def chosen_taps(frozen: Frozen, question: Question) -> tuple[str, ...]:
    """The taps that are asked for; raises `UserError` for one that the extractor does not have."""
    known = features.tap_names(frozen)
    for tap in question.taps:
        check_choice("tap", tap, known)
    return question.taps or known


def chosen_shortcut(config: ConfigDict, question: Question) -> str:
    """The shortcut that is drawn into test images; raises `UserError` for an unknown one."""
    shortcut = question.shortcut or (config.shortcut if config.shortcut != "none" else "arrow")
    check_choice("shortcut", shortcut, tuple(SHORTCUTS))
    return shortcut
