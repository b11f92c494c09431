import pytest

from .commands import command, run

CONFIG = "--config=configs/rotation.py:digits"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("main", "--help"), 0),
        (("main", CONFIG, "--workdir=run", "--config.lens.lambda=10"), 1),
        (("main", CONFIG, "--workdir=run", "--config.data.image_size=36"), 1),
        (("linear_eval", "--checkpoint=nowhere", "--follow", "--once"), 1),
        (("sweep", CONFIG, "--workdir=runs", "--grid=seed=0,1", "--dry_run"), 0),
    ],
)
def test_a_fork_answers_as_a_fresh_start_does(words: tuple[str, ...], status: int):
    fork, fresh = run(*command(*words)), run(*command(*words), fresh=True)
    assert (fork.returncode, fork.stdout, fork.stderr) == (status, fresh.stdout, fresh.stderr)
    assert fresh.returncode == status
