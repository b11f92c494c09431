"""The evaluation job: runs suites on a checkpoint, one after another, and keeps what they find."""

import sys
import time
from typing import Any

import jax

from lens_jax.errors import UserError
from lens_jax.eval.features import check_representation
from lens_jax.eval.frozen import Frozen, choose_network
from lens_jax.eval.options import Options, open_splits
from lens_jax.eval.suites.base import Numbers, Subject, Suite, format_number, to_plain
from lens_jax.workdir import files, results

# How many numbers of a suite are printed; all are in the file.
PRINTED = 16


def open_subject(frozen: Frozen, options: Options, store: str) -> Subject:
    """What is evaluated, and on what.

    Raises `UserError` for a network, a representation or data that there is not.
    """
    frozen = choose_network(frozen, options.network)
    check_representation(frozen, options.representation)
    train, test = open_splits(frozen.config, options)
    folder = frozen.config.data.dir if options.data_dir is None else options.data_dir
    return Subject(
        frozen=frozen,
        network=options.network,
        representation=options.representation,
        train=train,
        test=test,
        data_dir=folder,
        store=store,
    )


def run(subject: Subject, suites: list[Suite], output: str) -> list[str]:
    """Runs the suites and adds each result to the folder `output` as soon as it is there.

    A suite that cannot be run on this subject is one line, and the others go on. Returns the names
    of such suites.
    """
    failures = []
    for suite in suites:
        try:
            result = run_suite(subject, suite)
        except UserError as error:
            failures.append(suite.name)
            print_once(f"\nfailed: {suite.name}: {error}", file=sys.stderr)
            continue
        print_once(describe(result))
        results.add_evaluation(output, result)
    return failures


def run_suite(subject: Subject, suite: Suite) -> dict[str, Any]:
    """One result: its identity, its protocol in words, the numbers, and the seconds they took."""
    suite.check(subject)
    data = suite.measured_on(subject)
    start = time.monotonic()
    numbers = suite.measure(subject)
    seconds = time.monotonic() - start
    return {
        "step": subject.frozen.step,
        "network": subject.network,
        "representation": subject.representation,
        "suite": suite.name,
        "options": to_plain(suite),
        "data": data,
        "protocol": suite.protocol(subject),
        "numbers": numbers,
        "seconds": seconds,
    }


def describe(result: dict[str, Any]) -> str:
    """A result as lines for a terminal, with its protocol beside the numbers."""
    options = ", ".join(f"{key}={value}" for key, value in result["options"].items())
    lines = [
        f"\nstep {result['step']}  {result['suite']}({options})  {result['representation']}, "
        f"{result['network']} network  {result['seconds']:.0f} s",
        f"  {result['protocol']}",
    ]
    numbers: Numbers = result["numbers"]
    for name, value in list(numbers.items())[:PRINTED]:
        lines.append(f"  {name:<32} {format_number(name, value):>9}")
    more = len(numbers) - PRINTED
    if more > 0:
        lines.append(f"  and {more} more in {files.EVALUATION_FILE}")
    return "\n".join(lines)


def print_once(text: str, file: Any = None) -> None:
    """Prints lines in the first process, if there are any."""
    if text and jax.process_index() == 0:
        print(text, file=file or sys.stdout, flush=True)
