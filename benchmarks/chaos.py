"""Kills real trainings at random moments, starts them again, and compares what they end as.

    python -m benchmarks.chaos --points=50 --seed=0

Every kind of training in `KINDS` is first run without a break, on tiny networks. Then each is
killed by SIGKILL, up to five times in a run, and started again until it ends. The moments are drawn
by the seed, a third of them for each of

    start     at any time before the first step, importing, restoring and compiling being among it
    step      up to `AFTER` seconds after the line of progress of any step
    save      up to `AFTER` seconds after an unfinished checkpoint is seen, once any save has begun

Beside them, each kind is told to end by SIGTERM twice, which must give the status of
`preemption.EXIT_STATUS` within `NOTICE` seconds. How many threads read the data is drawn anew for
every start.

After each kill, the newest checkpoint has to load and the metrics have to be readable. At the end,
the state, the position in the data, the count of roll-backs and all losses have to be those of the
unbroken run, bit by bit, and the folder must hold whole checkpoints only. What is not so is listed,
and the exit status is 1 then. "amid a save" counts the kills that left a new unfinished checkpoint
behind, and "too late" those that came when the run had ended. The figures are of one machine's
processes: a power cut is another matter, as files that were written may be lost then.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.builders import png
from lens_jax.data.source import Source, open_source
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, load
from lens_jax.train.loop import data_seed
from lens_jax.train.preemption import EXIT_STATUS
from lens_jax.workdir import digests
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.files import DAMAGED_FOLDER
from lens_jax.workdir.metrics import read_metrics

REPOSITORY = Path(__file__).parents[1]
STEPS, SAVE_EVERY, BATCH_SIZE = 40, 3, 16
KILLS_IN_A_RUN, TERMS_OF_A_KIND = 5, 2
AFTER, NOTICE, LIMIT = 0.1, 30.0, 300.0
START, STEP, SAVE, TERM, END = "start", "step", "save", "SIGTERM", "end"
# How each moment ends a run, and the exit status that it gives.
ENDS = {
    **dict.fromkeys((START, STEP, SAVE), (signal.SIGKILL, -signal.SIGKILL)),
    TERM: (signal.SIGTERM, EXIT_STATUS),
    END: (None, 0),
}
TINY = (
    f"--config.train.duration={STEPS} steps",
    f"--config.train.checkpoint_every={SAVE_EVERY} steps",
    "--config.train.log_every=1 steps",
    f"--config.data.batch_size={BATCH_SIZE}",
    "--config.model.width=8",
    "--config.lens.widths=(8, 8)",
)
_STEP_LINE = re.compile(r"^step (\d+)/", re.MULTILINE)


class Kind(NamedTuple):
    """A kind of training: its config file, its options, and whether a bad record makes it roll back."""

    config: str
    options: tuple[str, ...] = ()
    poisoned: bool = False


KINDS = {
    "rotation": Kind("rotation"),
    "no lens": Kind("supervised"),
    "steered": Kind(
        "rotation",
        (
            "--config.lens.batch_norm=split",
            "--config.lens.raw_fraction=1.0",
            "--config.lens.budget=target",
            "--config.lens.update_every=3",
        ),
    ),
    "exemplar": Kind("exemplar", ("--config.task.embedding=16",)),
    "jigsaw": Kind("jigsaw", ("--config.task.embedding=16", "--config.task.hidden=32")),
    "rolled back": Kind("supervised", ("--config.train.rollbacks=1",), poisoned=True),
}


class Point(NamedTuple):
    """One start of a run and when to end it.

    Attributes:
      moment: a key of `ENDS`.
      step: the step to wait for; for `START`, its place among the other points of its run.
      share: in [0, 1), of `AFTER`, or for `START` of the seconds that a start takes.
      threads: that read the data.

    """

    moment: str
    step: int
    share: float
    threads: int


class Kill(NamedTuple):
    """What came of a point: the last step told, the exit status, whether a save was torn, what is wrong."""

    kind: str
    point: Point
    step: int
    status: int
    torn: bool
    problem: str

    @property
    def landed(self) -> bool:
        """Whether the process ended as was meant."""
        return self.status == ENDS[self.point.moment][1]

    @property
    def late(self) -> bool:
        """Whether the run was at its end before."""
        return self.status == 0 and self.point.moment != END


class Life(NamedTuple):
    """What came of a run: its kills, the last of which is its end, and what is wrong ("": nothing is)."""

    kills: tuple[Kill, ...]
    problem: str


class Bench(NamedTuple):
    """The folder of everything, and the seconds from the start of a process to its first step."""

    root: Path
    starting: float


def draw(points: int, seed: int) -> list[tuple[str, tuple[Point, ...]]]:
    """Runs as pairs of a key of `KINDS` and of their points, the earliest first.

    As many points as asked for are dealt evenly to the kinds and to the moments of SIGKILL; those
    of SIGTERM come on top.
    """
    rng = np.random.default_rng(seed)
    moments = rng.permutation(np.resize((START, STEP, SAVE), points)).tolist()
    runs = []
    for index, kind in enumerate(KINDS):
        own = [_draw_point(moment, rng) for moment in moments[index :: len(KINDS)]]
        runs += [(kind, own[at : at + KILLS_IN_A_RUN]) for at in range(0, len(own), KILLS_IN_A_RUN)]
        runs.append((kind, [_draw_point(TERM, rng) for _ in range(TERMS_OF_A_KIND)]))
    return [(kind, tuple(sorted(own, key=lambda point: point.step))) for kind, own in runs]


def _draw_point(moment: str, rng: np.random.Generator) -> Point:
    # A run that is told to end near its end does so by itself.
    step = int(rng.integers(1, STEPS if moment != TERM else 3 * STEPS // 4))
    threads = int(rng.integers(2, 5))
    return Point(moment, step, float(rng.random()), threads)


def make_command(root: Path, kind: str, workdir: Path, threads: int) -> list[str]:
    """The words that start a training of a kind or take it up again."""
    config, options, poisoned = KINDS[kind]
    return [
        *(sys.executable, "-m", "lens_jax.main"),
        f"--config=configs/{config}.py:digits",
        f"--workdir={workdir}",
        f"--config.data.dir={root / ('poisoned' if poisoned else 'data')}",
        f"--config.data.threads={threads}",
        *TINY,
        *options,
    ]


def strike(bench: Bench, kind: str, point: Point, workdir: Path) -> Kill:
    """Starts a training, ends it at a point, and looks at what it left; one that hangs is aborted."""
    words = make_command(bench.root, kind, workdir, point.threads)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(bench.root / "compiled")}
    errors, before = workdir.with_suffix(".stderr"), leftovers(workdir)
    with (
        errors.open("a") as file,
        subprocess.Popen(
            words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
        _signalled_after(process, *_latest(point, bench.starting)),
    ):
        told = _follow(process, point, workdir)
        if ENDS[point.moment][0]:
            process.send_signal(ENDS[point.moment][0])
        sent = time.monotonic()
        told += process.stdout.read()
        status = process.wait()
    seconds = time.monotonic() - sent
    step = int(_STEP_LINE.findall(told)[-1]) if _STEP_LINE.search(told) else 0
    problem = _explain_status(point, status, seconds, errors) or find_unreadable(workdir)
    return Kill(kind, point, step, status, leftovers(workdir) not in (before, []), problem)


@contextlib.contextmanager
def _signalled_after(
    process: subprocess.Popen, seconds: float, sign: signal.Signals
) -> Iterator[None]:
    timer = threading.Timer(seconds, process.send_signal, (sign,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _latest(point: Point, starting: float) -> tuple[float, signal.Signals]:
    """When a process is ended whatever it has reached, in seconds, and how: at `START`, or as it hangs."""
    return (
        (point.share * starting, signal.SIGKILL)
        if point.moment == START
        else (LIMIT, signal.SIGABRT)
    )


def _follow(process: subprocess.Popen, point: Point, workdir: Path) -> str:
    """Waits until the point is reached, or the process has ended, and gives what it printed."""
    told = ""
    for line in process.stdout:
        told += line
        if is_due(point, line):
            while point.moment == SAVE and process.poll() is None and not leftovers(workdir):
                time.sleep(0.001)
            time.sleep(point.share * AFTER)
            break
    return told


def is_due(point: Point, line: str) -> bool:
    """Whether a line tells that the point's step was taken, or at `SAVE`, that a save follows it.

    For a start it is any step.
    """
    match = _STEP_LINE.match(line)
    step, wanted = int(match[1]) if match else 0, 1 if point.moment == START else point.step
    return step >= wanted and (point.moment != SAVE or step % SAVE_EVERY == 0)


def _explain_status(point: Point, status: int, seconds: float, errors: Path) -> str:
    if status not in (0, ENDS[point.moment][1]):
        last = (["no message", *errors.read_text().splitlines()])[-1]
        return f"it ended by itself with {name_status(status)}: {last}"
    if point.moment == TERM and seconds > NOTICE:
        return f"it took {seconds:.0f} s to end, more than {NOTICE:.0f}"
    return ""


def name_status(status: int) -> str:
    """The signal that ended a process, or its exit status, in words."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def find_unreadable(workdir: Path) -> str:
    """Says which of the newest checkpoint and the metrics cannot be read; "" where both can."""
    try:
        read_metrics(str(workdir))
        steps = saved_steps(str(workdir))
        if steps:
            load(str(workdir), steps[-1])
    # Whatever the reader raises is what is looked for.
    except Exception as error:
        return f"not readable: {type(error).__name__}: {error}"
    return ""


def leftovers(workdir: Path) -> list[str]:
    """What lies among the checkpoints and is none: only a whole one is named by nothing but its step."""
    folder = workdir / "checkpoints"
    return (
        sorted(name for name in os.listdir(folder) if not name.isdecimal())
        if folder.exists()
        else []
    )


def find_faults(workdir: Path, unbroken: Path) -> str:
    """Says in what a run that has ended differs from the unbroken one; "" where it does not."""
    one, other = load(str(unbroken)), load(str(workdir))
    whole = epath.Path(workdir) / "checkpoints"
    faults = [
        *(f"{name} differs" for name in differing(result(one), result(other))),
        *(f"{name} was left over" for name in leftovers(workdir)),
        *filter(
            None,
            (digests.find_damage(whole / str(step), ".") for step in saved_steps(str(workdir))),
        ),
        *([f"there is {DAMAGED_FOLDER}"] if (workdir / DAMAGED_FOLDER).exists() else []),
        *(["the logged losses differ"] if losses(workdir) != losses(unbroken) else []),
    ]
    return "; ".join(faults)


def result(frozen: Frozen) -> dict[str, Any]:
    """What a run ends as: all that must not depend on how often it was ended before."""
    return {
        "step": frozen.step,
        "position": frozen.run["position"],
        "rollbacks": frozen.run["rollbacks"],
        "state": frozen.state,
    }


def differing(one: Any, other: Any) -> list[str]:
    """The names of the leaves of two trees that differ in a bit, in type or shape, or that one tree lacks."""
    leaves, others = (
        {
            jax.tree_util.keystr(path, simple=True, separator="/"): _bits(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        for tree in (one, other)
    )
    return [name for name in sorted(leaves | others) if leaves.get(name) != others.get(name)]


def _bits(leaf: Any) -> tuple[np.dtype, tuple[int, ...], bytes]:
    array = np.asarray(leaf)
    return array.dtype, array.shape, array.tobytes()


def losses(workdir: Path) -> list[tuple[float, float]]:
    """The steps and losses that were logged."""
    return [(row["step"], row["loss"]) for row in read_metrics(str(workdir))]


def live(bench: Bench, kind: str, points: Sequence[Point], workdir: Path) -> Life:
    """Ends a run at each of its points, lets it reach its end then, and compares it; tells each kill."""
    kills = []
    for point in (*points, Point(END, STEPS, 0.0, 1)):
        kills.append(strike(bench, kind, point, workdir))
        print(describe_kill(kills[-1]), flush=True)
        if kills[-1].problem:
            return Life(tuple(kills), kills[-1].problem)
    faults = find_faults(workdir, bench.root / "unbroken" / kind)
    print(f"{kind:12}{faults or 'bit-equal to the unbroken run'}", flush=True)
    return Life(tuple(kills), faults)


def describe_kill(kill: Kill) -> str:
    """One line on a kill."""
    notes = (name_status(kill.status), "amid a save" if kill.torn else "", kill.problem)
    return (
        f"{kill.kind:12}{kill.point.moment:8} step {kill.step:2}  {'  '.join(filter(None, notes))}"
    )


def poison(data: Path, index: int) -> None:
    """Gives a training record of the digits in `data` a label that none has: its loss is NaN."""
    from tensorflow_datasets.proto import tf_example_pb2

    (path,) = data.rglob("digits-train.array_record*")
    records = ArrayRecordReader(str(path)).read_all()
    example = tf_example_pb2.Example.FromString(records[index])
    example.features.feature["label"].int64_list.value[:] = [10]
    records[index] = example.SerializeToString()
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def choose_record(size: int) -> int:
    """A record that a run on `size` of them meets half-way, and never in the order after a roll-back."""
    first, again = (_order(size, data_seed(0, rollbacks)) for rollbacks in (0, 1))
    return int(next(index for index in first[STEPS // 2] if index not in again))


def _order(size: int, seed: int) -> np.ndarray:
    """The records that each step of a run reads, [STEPS, BATCH_SIZE]."""
    pixel = png.encode(np.zeros((1, 1, 3), np.uint8))
    source = Source(("any",), size, lambda index: {"image": pixel, "label": index, "name": ""})
    batches = train_batches(
        source,
        Skipped(source),
        batch_size=BATCH_SIZE,
        image_size=1,
        crop="none",
        seed=seed,
        threads=0,
    )
    return np.stack([next(batches)["label"] for _ in range(STEPS)])


def prepare(root: Path) -> None:
    """Makes the data sets of all kinds."""
    size = len(open_source("digits", "train", str(root / "data")))
    shutil.copytree(root / "data", root / "poisoned")
    poison(root / "poisoned", choose_record(size))


def train_unbroken(root: Path, kind: str) -> None:
    """Trains a kind without a break; raises `UserError` where that fails, or lacks the roll-back."""
    workdir = root / "unbroken" / kind
    workdir.parent.mkdir(exist_ok=True)
    problem = strike(Bench(root, 0.0), kind, Point(END, STEPS, 0.0, 1), workdir).problem
    if not problem and load(str(workdir)).run["rollbacks"] != KINDS[kind].poisoned:
        problem = "its count of roll-backs is not as it was planned"
    if problem:
        raise UserError(f"{kind!r} fails without any kill: {problem}; make that work first")


def time_start(root: Path) -> float:
    """Seconds from the start of a process to its first step, with the step compiled before."""
    began = time.monotonic()
    strike(Bench(root, 0.0), next(iter(KINDS)), Point(STEP, 1, 0.0, 1), root / "timed")
    return time.monotonic() - began


def shake(root: Path, points: int, seed: int, jobs: int) -> list[Life]:
    """Trains every kind without a break, then with the kills of `draw`, `jobs` runs at a time."""
    prepare(root)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(functools.partial(train_unbroken, root), KINDS))
        bench = Bench(root, time_start(root))
        drawn = draw(points, seed)
        print(f"{len(drawn)} runs; a start takes {bench.starting:.1f} s", flush=True)
        lives = [
            pool.submit(live, bench, kind, own, root / f"run{index}")
            for index, (kind, own) in enumerate(drawn)
        ]
        return [life.result() for life in lives]


def tabulate(lives: Sequence[Life]) -> str:
    """Counts by kind and by moment."""
    header = ("kills", "resumed", "bit-equal", "amid a save", "too late")
    rows = [("", header), *_count(lives, lambda kill: kill.kind)]
    rows += [("", header), *_count(lives, lambda kill: kill.point.moment)]
    return "\n".join(f"{name:12}" + "".join(f"{value:>13}" for value in row) for name, row in rows)


def _count(lives: Sequence[Life], key: Callable[[Kill], str]) -> list[tuple[str, list[int]]]:
    counts = collections.defaultdict(lambda: np.zeros(5, int))
    for life in lives:
        for kill, following in itertools.pairwise((*life.kills, None)):
            if kill.point.moment != END:
                resumed = (
                    kill.landed and following is not None and (following.landed or following.late)
                )
                equal = kill.landed and not life.problem
                counts[key(kill)] += [kill.landed, resumed, equal, kill.torn, kill.late]
    return [(name, row.tolist()) for name, row in counts.items()]


def check_count(name: str, value: int) -> None:
    """Raises `UserError` for none or fewer."""
    if value < 1:
        raise UserError(f"--{name} is {value}: give 1 or more")


@contextlib.contextmanager
def open_folder(keep: bool) -> Iterator[Path]:
    """A temporary folder, which is removed in the end unless it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder)


def run(options: argparse.Namespace) -> bool:
    """Kills and compares as the flags say, prints what came of it, and tells whether all was well."""
    check_count("points", options.points)
    check_count("jobs", options.jobs)
    # This process only compares; an accelerator is the trainings' alone.
    jax.config.update("jax_platforms", "cpu")
    began = time.monotonic()
    with open_folder(options.keep) as root:
        lives = shake(root, options.points, options.seed, options.jobs)
    problems = [f"{life.kills[-1].kind}: {life.problem}" for life in lives if life.problem]
    print(tabulate(lives))
    print("\n".join([f"problems: {len(problems)}", *problems]))
    print(f"took {(time.monotonic() - began) / 60:.1f} min")
    return not problems


def main() -> None:
    """Does as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=50, help="how many SIGKILLs")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at a time, each of which uses all devices"
    )
    parser.add_argument("--keep", action="store_true", help="keeps the work directories")
    try:
        sys.exit(not run(parser.parse_args()))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
