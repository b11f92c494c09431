import pytest

from tests.fake_devices import fake_devices

from .commands import command, run, succeed

SMALL = (
    "--config=configs/rotation.py:digits",
    "--config.model.width=4",
    "--config.lens.widths=(8, 8)",
    "--config.data.batch_size=2",
)
FAST = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def findings(output: str) -> dict[str, str]:
    """What was found by each check: "ok" or "problem", and the rest of its line."""
    found = {}
    for line in output.splitlines():
        if line.startswith("preparing "):
            continue
        head, _, rest = line.partition(": ")
        status, _, name = head.partition(" ")
        assert status in ("ok", "problem"), output
        found[name] = f"{status} {rest}"
    return found


def test_a_config_and_a_work_directory_without_problems(tmp_path, data):
    workdir = tmp_path / "run"
    options = *SMALL, f"--config.data.dir={data}", f"--workdir={workdir}"
    found = findings(succeed(*command("check", *options), **FAST))
    assert list(found) == [
        "versions",
        "processes",
        "devices",
        "mesh",
        "memory",
        "config",
        "data",
        "workdir",
        "compilation cache",
        "step",
    ]
    assert all(text.startswith("ok") for text in found.values())
    assert "1437 images" in found["data"]
    assert "(2, 32, 32, 3)" in found["data"]
    assert "compiled in" in found["step"]
    assert not workdir.exists()


def test_every_problem_is_printed_and_ends_with_1(tmp_path):
    (tmp_path / "taken").write_text("a file")
    options = *SMALL, f"--config.data.dir={tmp_path}", f"--workdir={tmp_path / 'taken' / 'run'}"
    result = run(
        *command("check", *options, "--config.data.name=cifar10", "--config.data.batch_size=3"),
        **fake_devices(2),
        **FAST,
    )
    assert result.returncode == 1, result.stderr
    found = findings(result.stdout)
    assert "batch_size 3 cannot be shared by 2 devices" in found["config"]
    assert "cifar10 is not prepared" in found["data"]
    for name in ("config", "data", "workdir", "step"):
        assert found[name].startswith("problem"), found[name]
    for name in ("versions", "processes", "devices", "mesh", "memory"):
        assert found[name].startswith("ok"), found[name]


def test_half_a_cluster_ends_the_check_at_once():
    result = run(*command("check"), JAX_NUM_PROCESSES="2")
    assert result.returncode == 1
    found = findings(result.stdout)
    assert list(found) == ["versions", "processes"]
    assert "JAX_PROCESS_ID" in found["processes"]


@pytest.mark.parametrize("words", ["python -m lens_jax.check", "--workdir"])
def test_help_names_the_command_and_its_flags(words):
    assert words in succeed(*command("check", "--help"))
