import numpy as np
import PIL.Image
import pytest

from tests.fake_devices import fake_devices

from .commands import command, run, succeed, train

CONFIG = "--config=configs/rotation.py:digits"


def refuse(*words: str) -> str:
    """Runs a command that must fail with one clear line, and gives the line."""
    result = run(*words)
    assert result.returncode == 1, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.foo=3", ("'foo'", "lens.widths")),
        ("config.seed=3", ("'config.seed=3'", "--")),
        ("--config.task.name=jigsawed", ("'jigsawed'", "rotation")),
        ("--config.data.name=digit", ("'digit'", "digits")),
        ("--config.lens.objective=worst", ("'worst'", "confusion")),
        ("--config.model.name=resnet5", ("'resnet5'", "resnet50")),
        ("--config.shortcut=cross", ("'cross'", "arrow")),
        ("--config.data.train_split=training", ("'training'", "train")),
        ("--config.data.crop=circle", ("'circle'", "central")),
        ("--config.data.image_size=36", ("36x36", "multiples of 8")),
        ("--config.train.duration=8", ("'8'", "epochs")),
        ("--config.train.log_every=often", ("'often'", "epochs")),
        ("--config.seed=-1", ("seed", "-1")),
        ("--config.data.threads=-1", ("data.threads", "-1")),
        ("--config.train.duration=2 days", ("'2 days'", "epochs")),
        ("--config.optimizer.learning_rate=-1", ("optimizer.learning_rate", "-1")),
        ("--config.optimizer.momentum=nan", ("optimizer.momentum", "nan")),
        ("--config.model.width=0", ("model.width", "0")),
        ("--config.data.dir=None", ("data.dir", "None")),
        ("--config.seed=one", ("seed", "one")),
    ],
)
def test_a_wrong_option_is_named_with_the_legal_ones_and_nothing_is_written(
    option, words, tmp_path, data
):
    workdir = tmp_path / "run"
    error = refuse(
        *command("main", CONFIG, f"--workdir={workdir}", f"--config.data.dir={data}", option)
    )
    assert all(word in error for word in words), error
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("config", "option", "words"),
    [
        ("rotation", "lens.lambda_=-0.5", ("lens.lambda_ is -0.5", "between 0 and inf")),
        ("rotation", "lens.epsilon=-0.1", ("lens.epsilon is -0.1", "between 1e-09 and inf")),
        ("exemplar", "lens.objective=confusion", ("'confusion'", "choose full, or another task")),
        ("jigsaw", "task.patch=20", ("patch of 20 px", "cell of 10 px", "1 to 10")),
        ("jigsaw", "task.drawn=101", ("task.drawn is 101", "1 to 100")),
        ("exemplar", "data.batch_size=1", ("got 1", "at least 2", "data.batch_size")),
        ("pirl", "data.batch_size=1", ("got 1", "at least 2", "data.batch_size")),
        ("simclr", "task.temperature=0", ("task.temperature is 0.0", "greater than 0")),
        ("moco", "task.momentum=-0.1", ("task.momentum is -0.1", "between 0 and 1")),
        ("pirl", "task.embedding=100000000", ("'pirl' remembers takes", "task.embedding")),
        ("byol", "task.hidden=1000000000", ("networks and optimizers takes", "smaller")),
    ],
)
def test_what_a_task_or_its_lens_cannot_be_is_refused_in_one_line(
    config, option, words, tmp_path, data
):
    workdir = tmp_path / "run"
    options = (
        f"--config=configs/{config}.py:digits",
        f"--config.data.dir={data}",
        f"--config.{option}",
    )
    error = refuse(*command("main", *options, f"--workdir={workdir}"))
    assert all(word in error for word in words), error
    assert not workdir.exists()


def test_an_unknown_variant_or_config_file_is_named(tmp_path):
    error = refuse(*command("main", "--config=configs/rotation.py:glyph", f"--workdir={tmp_path}"))
    assert "'glyph'" in error
    assert "glyphs" in error
    error = refuse(*command("main", "--config=configs/rotations.py", f"--workdir={tmp_path}"))
    assert "configs/rotations.py" in error


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path, data):
    words = train(tmp_path / "run", data, "--config.data.batch_size=10")
    result = run(*words, **fake_devices(4))
    assert result.returncode == 1
    assert "batch_size 10 cannot be shared by 4 devices: use a multiple of 4" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_work_directory_of_another_config_is_refused_and_left_as_it_was(tmp_path, data):
    options = ("--config.train.duration=2 steps",)
    succeed(*train(tmp_path, data, *options))
    before = (tmp_path / "config.json").read_bytes()
    error = refuse(*train(tmp_path, data, *options, "--config.lens.lambda_=7"))
    assert "lens.lambda_ was 100.0 and is now 7.0" in error
    assert (tmp_path / "config.json").read_bytes() == before
    for option, word in (
        ("--taps=block9", "block9"),
        ("--representations=sum", "sum"),
        ("--dataset=mnist", "mnist"),
    ):
        assert word in refuse(*command("linear_eval", f"--checkpoint={tmp_path}", option))
    assert not (tmp_path / "linear_eval.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("main", "--config=rotation:digits", "--workdir=RUN"),
        ("main", "--config=rotation:digits", "--workdir=elsewhere", "--init=RUN"),
        ("sweep", "--config=rotation:digits", "--workdir=RUN", "--grid=seed=0"),
        ("linear_eval", "--checkpoint=RUN", "--once"),
    ],
    ids=" ".join,
)
def test_a_folder_whose_checkpoints_could_not_be_read_is_refused(words, tmp_path, data):
    folder = tmp_path / "run [1]"
    named = [word.replace("RUN", str(folder)) for word in words]
    if words[0] in ("main", "sweep"):
        named.append(f"--config.data.dir={data}")
    error = refuse(*command(*named))
    assert "has [ ] in its name" in error
    assert not list(tmp_path.iterdir())


def test_an_evaluation_before_the_first_checkpoint_ends_at_once_if_told_so(tmp_path):
    assert "no checkpoint" in refuse(*command("linear_eval", f"--checkpoint={tmp_path}", "--once"))
    assert not list(tmp_path.iterdir())


def test_a_report_on_a_folder_without_runs_is_refused(tmp_path):
    assert str(tmp_path) in refuse(*command("report", f"--workdir={tmp_path}"))
    assert not list(tmp_path.iterdir())


def folder_options(folder) -> tuple[str, ...]:
    return (
        "--config=configs/rotation.py:image_folder",
        f"--config.data.dir={folder}",
        "--config.data.image_size=32",
        "--config.data.batch_size=8",
        "--config.model.name=small",
        "--config.model.width=8",
        "--config.model.stem=patch",
        "--config.lens.widths=(8, 8)",
        "--config.lens.patch=4",
        "--config.train.duration=2 steps",
    )


def write_images(folder, count: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 255, (40, 48, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{index:02d}.png")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    error = refuse(
        *command("main", *folder_options(tmp_path / "images"), f"--workdir={tmp_path / 'run'}")
    )
    assert f"no images in image folder {tmp_path / 'images'}" in error
    assert not (tmp_path / "run").exists()


def test_an_undecodable_image_is_named_and_skipped_up_to_the_set_share(tmp_path):
    write_images(tmp_path / "images" / "train", 15)
    (tmp_path / "images" / "train" / "broken.png").write_bytes(b"no image")
    options = folder_options(tmp_path / "images")
    allowed = (f"--workdir={tmp_path / 'run'}", "--config.data.max_skipped=0.1")
    result = run(*command("main", *options, *allowed))
    assert result.returncode == 0, result.stderr
    assert "broken.png" in result.stderr
    error = refuse(*command("main", *options, f"--workdir={tmp_path / 'strict'}"))
    assert "1 of 15 images did not decode" in error  # the sixteenth is held out
    assert "broken.png" in error
