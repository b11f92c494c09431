"""The evaluation by `linear_eval`: the suite `linear` and what stands beside it, as one result."""

import tempfile
import time
from typing import Any

from lens_jax.errors import check_choice
from lens_jax.eval import geometry
from lens_jax.eval.frozen import Frozen, choose_network, pretext_accuracy
from lens_jax.eval.job import open_subject
from lens_jax.eval.options import (
    Options,
    describe_data,
    open_sources,
    resolve_shortcut,
    resolve_taps,
)
from lens_jax.eval.suites.base import Numbers, Subject
from lens_jax.eval.suites.linear import SOLVERS, Linear

Results = dict[str, Any]


def evaluate(frozen: Frozen, options: Options, pretext: Results) -> Results:
    """Evaluates a checkpoint: all results, and the seconds that those of `options` took.

    `pretext` are the checkpoint's `pretext_results`, which do not depend on the representation.
    Raises `UserError` for options that the checkpoint or its data do not offer.
    """
    start = time.monotonic()
    results = linear_results(frozen, options)
    seconds = time.monotonic() - start
    return results | pretext | {"seconds": seconds}


def linear_results(frozen: Frozen, options: Options) -> Results:
    """The test accuracy, 0 to 1, of a linear classifier on each tap, and how it was measured.

    It is what the suite `linear` finds. The solver "lbfgs" has the features of all images at hand,
    so that what `knn` and `collapse` find of the last tap stands beside it. The features are on
    disk meanwhile.
    """
    check_choice("solver", options.solver, SOLVERS)
    _, test = open_sources(frozen.config, options)
    taps = resolve_taps(frozen.system, options)
    suite = Linear(options.solver, taps, epochs=options.epochs)
    with tempfile.TemporaryDirectory() as store:
        subject = open_subject(frozen, options, store)
        suite.check(subject)
        numbers = suite.measure(subject)
        others = {}
        if options.solver == "lbfgs":
            others = describe_features(subject, taps[-1])

    # What was measured comes with what it was measured on.
    return {
        "step": frozen.step,
        "dataset": options.dataset or frozen.config.data.name,
        **describe_data(subject.train, test),
        "network": options.network,
        "representation": options.representation,
        "solver": options.solver,
        "taps": {tap: numbers[f"accuracy/{tap}"] for tap in taps},
        "linear_accuracy": numbers["accuracy"],
        "class_accuracy": of_classes(numbers),
        **others,
    }


def of_classes(numbers: Numbers) -> Numbers:
    """The accuracies on single classes among the numbers of the suite `linear`, by class."""
    found = {}
    for name, value in numbers.items():
        family, _, of = name.partition("/")
        if family == "class_accuracy":
            found[of] = value
    return found


def describe_features(subject: Subject, tap: str) -> Results:
    """What a tap tells beside its linear accuracy.

    "knn_accuracy" in [0, 1], "rankme" of the test images, and "color_r2", how much of an image's
    mean color a linear regression finds, see `eval.geometry`.
    """
    train = subject.rows(subject.train, tap)
    test = subject.rows(subject.test, tap)
    learned, tested = train.taps[tap], test.taps[tap]
    return {
        "knn_accuracy": geometry.neighbors_accuracy(learned, train.labels, tested, test.labels),
        "rankme": geometry.effective_rank(tested),
        "color_r2": geometry.regression_r2(learned, train.colors, tested, test.colors),
    }


def pretext_results(frozen: Frozen, options: Options) -> Results:
    """The pretext accuracy, 0 to 1, on test images without and with the shortcut.

    With a lens there are two of each: of raw images, and of lensed ones, by names in "_lensed".
    """
    frozen = choose_network(frozen, options.network)
    config = frozen.config
    _, test = open_sources(config, options)
    shortcut = resolve_shortcut(config, options)
    results: Results = {"shortcut": shortcut}
    conditions = {"clean": "none", "shortcut": shortcut}
    for condition, injected in conditions.items():
        accuracies = pretext_accuracy(frozen, test, injected)
        for kind, accuracy in accuracies.items():
            suffix = "" if kind == "raw" else f"_{kind}"
            results[f"pretext_accuracy_{condition}{suffix}"] = accuracy
    return results
