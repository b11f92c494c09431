"""The options of an evaluation: what they say of a run, and the data that they name."""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lens_jax.data.records import Source
from lens_jax.data.selection import Selection
from lens_jax.data.source import open_source
from lens_jax.errors import UserError, check_choice
from lens_jax.eval.features import REPRESENTATIONS
from lens_jax.eval.frozen import Frozen
from lens_jax.ops.shortcuts import SHORTCUTS
from lens_jax.train.system import System


class Options(NamedTuple):
    """The options of an evaluation.

    Attributes:
      dataset: the data set to classify; "" is the run's own.
      boxes: whether to classify images, "none", or boxes in them, see `data.selection.Selection`;
        "" is as in the run, or "none" of another data set.
      data_dir: where that data set is; None is the run's data.dir.
      train_split: where the classifiers learn; "" is the run's.
      test_split: where they are evaluated; "" is the run's, or of another data set the one to
        evaluate on, see `data.records.choose_split`.
      examples: number of labeled training examples, evenly spaced; None is all.
      taps: the taps to classify, of which the last gives `linear_accuracy`; () is all.
      representation: one of `features.REPRESENTATIONS`.
      solver: one of `suites.linear.SOLVERS`.
      epochs: of the solver "sgd".
      network: which network is evaluated, one of `frozen.NETWORKS`.
      shortcut: for the pretext accuracy; "" is the run's own, or arrow where it has none.

    """

    dataset: str = ""
    boxes: str = ""
    data_dir: str | None = None
    train_split: str = ""
    test_split: str = ""
    examples: int | None = None
    taps: tuple[str, ...] = ()
    representation: str = "raw"
    solver: str = "lbfgs"
    epochs: int = 70
    network: str = "online"
    shortcut: str = ""


def open_sources(config: ConfigDict, options: Options) -> tuple[Source, Source]:
    """`open_splits` for classifiers; raises `UserError` where there are no two classes."""
    train, test = open_splits(config, options)
    if train.num_classes < 2:
        name = options.dataset or config.data.name
        raise UserError(f"data set {name!r} has no classes to learn: give a --dataset with labels")
    return train, test


def open_splits(config: ConfigDict, options: Options) -> tuple[Source, Source]:
    """The `examples` images to learn from, and the images to evaluate on."""
    data = config.data
    name = options.dataset or data.name
    train_split = options.train_split or data.train_split
    # Another data set has other splits, of which it chooses, and need not have boxes.
    is_own = name == data.name
    test_split = options.test_split or (data.eval_split if is_own else "")
    selection = Selection(boxes=options.boxes or (data.boxes if is_own else "none"))
    selection.check(data.orient)
    # An empty folder is one too: it is the default of TFDS.
    folder = data.dir if options.data_dir is None else options.data_dir
    train = open_source(name, train_split, folder, data.classes, selection)
    test = open_source(name, test_split, folder, data.classes, selection)
    examples = options.examples or len(train)
    return train.subsample(examples), test


def data_notes(frozen: Frozen, options: Options) -> list[str]:
    """Lines that say what an evaluation reads, and whether it is what the run was trained on."""
    train, test = open_splits(frozen.config, options)
    # Both splits of a folder have the same lines.
    notes = list(dict.fromkeys((*train.notes, *test.notes)))
    trained_on = frozen.run.get("data", {})
    if trained_on.get("fingerprint") == test.fingerprint:
        notes.append(f"the test split {test.split!r} is what the run was trained on")
    return notes


def describe_data(train: Source, test: Source) -> dict[str, Any]:
    """What a result was measured on: plain values, which also tell it from other results."""
    return {
        "full_name": test.dataset,
        "folder": test.folder,
        "train_split": train.split,
        "test_split": test.split,
        "train_examples": len(train),
        "test_examples": len(test),
        "train_fingerprint": train.fingerprint,
        "test_fingerprint": test.fingerprint,
        "boxes": test.boxes,
    }


def resolve_taps(system: System, options: Options) -> tuple[str, ...]:
    """The taps to classify, by default all; raises `UserError` for one that the extractor lacks."""
    known = system.network.extractor.tap_names
    for tap in options.taps:
        check_choice("tap", tap, known)
    return options.taps or known


def resolve_representations(system: System, names: tuple[str, ...]) -> tuple[str, ...]:
    """The representations to evaluate: by default raw, and with a lens lensed and concat too.

    Raises `UserError` for an unknown one.
    """
    for name in names:
        check_choice("representation", name, REPRESENTATIONS)
    default = ("raw", "lensed", "concat") if system.lens.trains else ("raw",)
    return names or default


def resolve_shortcut(config: ConfigDict, options: Options) -> str:
    """The shortcut to inject into test images; raises `UserError` for an unknown one."""
    own = config.shortcut
    default = "arrow" if own == "none" else own
    shortcut = options.shortcut or default
    check_choice("shortcut", shortcut, tuple(SHORTCUTS))
    return shortcut
