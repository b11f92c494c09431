"""Scores the audit on sets of which is known what was planted into them.

    python -m benchmarks.audit
    python -m benchmarks.audit --seeds=1 --json=audit.json

Into --count images of each of --classes classes of a data set, one of seven artefacts is planted,
in 2, 10, 50 or 90 % of one class. As many sets stay clean, or have their labels shuffled. Each row
looks at each set in its own way. What it prints:

- detection: how often a row's score of a planted set is above that of a clean one (AUROC);
- false alarms: of clean and of shuffled sets, how many a row calls suspicious;
- retrieval: of the images that a row names, average precision;
- place: how often a row's map is higher at a changed pixel than at another (AUROC), and how much of
  the map lies on changed pixels: of patches and text, where they are found;
- kind: how many of the planted sets that were found are called by their name;
- seconds of a set.
"""

import time

import numpy as np
from absl import flags

from benchmarks import machine
from benchmarks.audit import scores
from benchmarks.audit.rows import NAMES, ROWS, Answer, look
from benchmarks.audit.sets import CLEAN, SHUFFLED, Set, draw_images, make_set
from benchmarks.command import check_json, write_json
from lens_jax import cli

FRACTIONS = (0.02, 0.1, 0.5, 0.9)


def define_flags() -> None:
    """Defines the command line."""
    flags.DEFINE_list("data", ["fashion_mnist", "photo_crops/32"], "Data sets.")
    flags.DEFINE_integer("classes", 10, "Number of classes of a set.", 2)
    flags.DEFINE_integer("count", 100, "Number of images of each class.", 20)
    flags.DEFINE_integer("seeds", 3, "Number of seeds.", 1)
    flags.DEFINE_integer("clean", 12, "Number of clean, and of shuffled, sets of a data set.", 1)
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def run_rows(data: Set, name: str, seed: int) -> list[dict]:
    """What each row says of a set, as plain values."""
    seen = look(data, seed)
    records = []
    for row, ask in ROWS.items():
        start = time.perf_counter()
        answer = ask(seen)
        seconds = time.perf_counter() - start
        records.append(
            {"row": row, "data": name, "seed": seed, "seconds": seconds} | describe(data, answer)
        )
    return records


def describe(data: Set, answer: Answer) -> dict:
    """A set and how good an answer to it is."""
    record = {
        "artefact": data.artefact,
        "fraction": data.fraction,
        "score": float(answer.score),
        "alarm": bool(answer.alarm),
        "kind": answer.kind,
    }
    if data.planted < 0:
        return record
    record["named"] = answer.kind in NAMES[data.artefact]
    record["right class"] = answer.label == data.planted
    record["retrieval"] = scores.average_precision(data, answer)
    record["place"], record["share"] = scores.localize(data, answer)
    return record


def main() -> None:
    """Makes the sets, asks the rows, and prints the tables."""
    options = flags.FLAGS
    check_json(options.json)
    print(machine.describe_machine(), flush=True)
    records = []
    for name in options.data:
        for seed in range(max(options.seeds, options.clean)):
            images, labels = draw_images(name, options.classes, options.count, seed)
            chosen = []
            if seed < options.clean:
                chosen += [(CLEAN, 0.0), (SHUFFLED, 0.0)]
            if seed < options.seeds:
                chosen += [(artefact, fraction) for artefact in NAMES for fraction in FRACTIONS]
            for artefact, fraction in chosen:
                data = make_set(images, labels, artefact, fraction, seed)
                records += run_rows(data, name, seed)
            print(f"{name}, seed {seed}: {len(chosen)} sets", flush=True)
            if options.json:
                write_json(options.json, machine.facts() | {"records": records})
    print("\n".join(scores.tables(records, list(ROWS))))


if __name__ == "__main__":
    define_flags()
    np.seterr(divide="ignore", invalid="ignore")
    cli.run(main)
