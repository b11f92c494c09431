"""The story of a sweep, or of one piece of it."""

from lens_jax.errors import UserError
from lens_jax.eval.evaluate import Question
from lens_jax.sweep.grid import Run
from lens_jax.sweep.jobs import make_jobs
from lens_jax.sweep.results import Outcome, carry_out, look_up
from lens_jax.sweep.table import write_table


def sweep(
    runs: list[Run],
    workdir: str,
    piece: slice,
    question: Question,
    representations: tuple[str, ...],
) -> None:
    """Carries out `runs[piece]` one after another, and keeps the table of all `runs` up to date.

    What is finished is not done again. Raises `UserError` for what `make_jobs` refuses, before
    anything is written, and at the end where runs failed.
    """
    jobs = make_jobs(runs, workdir, question, representations)

    def look() -> list[Outcome]:
        return [look_up(job) for job in jobs]

    # Written at once, so that a folder that takes no files is found out before hours of training.
    text, failed = write_table(workdir, look), 0
    for place, job in enumerate(jobs[piece], 1):
        title = f"[{place}/{len(jobs[piece])}] {job.folder}"
        if look_up(job).state == "finished":
            print(f"{title} is finished", flush=True)
            continue
        print(title, flush=True)
        failed += carry_out(job).state == "failed"
        text = write_table(workdir, look)
    print(f"\n{text}")
    if failed:
        raise UserError(
            f"{failed} of {len(jobs[piece])} runs failed: see the lines above that say why"
        )
