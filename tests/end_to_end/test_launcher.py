import sys

import pytest

from .commands import command, run

CONFIG = "--config=configs/rotation.py:digits"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("main", "--help"), 0),
        (("main", CONFIG, "--workdir=run", "--config.lens.lamda=10"), 1),
        (("main", CONFIG, "--workdir=run", "--config.data.image_size=36"), 1),
        (("linear_eval", "--checkpoint=nowhere", "--follow", "--once"), 1),
        (("sweep", CONFIG, "--workdir=runs", "--grid=seed=0,1", "--dry_run"), 0),
    ],
)
def test_a_fork_answers_as_a_fresh_start_does(words: tuple[str, ...], status: int, data):
    if words[1] == CONFIG:
        words += (f"--config.data.dir={data}",)
    run(*command(*words))  # after which nothing is left to prepare
    fork, fresh = run(*command(*words)), run(*command(*words), fresh=True)
    assert (fork.returncode, fork.stdout, fork.stderr) == (status, fresh.stdout, fresh.stderr)
    assert fresh.returncode == status


def test_a_fork_is_told_what_jax_reads_when_it_is_imported(monkeypatch, tmp_path):
    run(*command("main", "--help"))  # the launcher that this starts has other variables
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    code = "import jax; print(jax.numpy.ones(1).dtype)"
    (tmp_path / "printed.py").write_text(code)
    words = sys.executable, "-m", "printed"
    assert run(*words, cwd=tmp_path).stdout == "float64\n"
