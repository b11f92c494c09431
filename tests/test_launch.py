import os
import pathlib
import shlex
import shutil
import subprocess

import pytest
import yaml

REPOSITORY = pathlib.Path(__file__).parents[1]
AWKWARD = ("--config.lens.widths=(8, 8)", "--config.data.dir=gs://b/a b'c\"$HOME;d")
POD = ("--name=pod", "--zone=here", "--type=v4-128", "--workdir=gs://b/my run")
NODES = ("--nodes=2", "--workdir=/shared/my run")
PODS = ("--name=pod", "--image=registry/lens:1", "--nodes=4", "--workdir=gs://b/my run")
EVALUATION = ("--workdir=gs://b/my run",)


def launch(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.run(
        ["bash", str(REPOSITORY / "launch" / script), *arguments],
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(output: str) -> list[list[str]]:
    """The words of the commands in the output, as a shell would read them."""
    return [shlex.split(line[2:]) for line in output.splitlines() if line.startswith("+ ")]


def dry(script: str, *arguments: str, **environment: str) -> list[list[str]]:
    result = launch(script, *arguments[:-2], "--dry-run", "--", *arguments[-2:], **environment)
    assert result.returncode == 0, result.stderr
    return printed(result.stdout)


def stand_in(folder: pathlib.Path, name: str, body: str) -> dict[str, str]:
    """Puts a program in place of one of a cluster; it notes its words in `folder/calls`."""
    program = folder / name
    note = f"printf '%q ' {name} \"$@\" >> {folder}/calls; echo >> {folder}/calls"
    program.write_text(f"#!/usr/bin/env bash\n{note}\n{body}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "POLL_SECONDS": "0"}


def calls(folder: pathlib.Path) -> list[list[str]]:
    return [shlex.split(line) for line in (folder / "calls").read_text().splitlines()]


def test_the_options_of_the_tests_reach_pytest(tmp_path):
    folder = tmp_path / "launch"
    folder.mkdir()
    shutil.copy(REPOSITORY / "launch" / "test.sh", folder)
    (folder / "environment.sh").touch()
    environment = stand_in(tmp_path, "ruff", "exit 0") | stand_in(tmp_path, "python", "exit 3")
    script = ["bash", str(folder / "test.sh"), "--slow", "-k", "lens and task"]
    result = subprocess.run(script, env=os.environ | environment, check=False)
    assert result.returncode == 3
    *_, words = calls(tmp_path)
    assert words[:3] == ["python", "-m", "pytest"]
    assert words[-3:] == ["--slow", "-k", "lens and task"]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("tpu_pod.sh", POD),
        ("gpu_slurm.sh", NODES),
        ("gke_job.sh", PODS),
        ("eval_job.sh", EVALUATION),
    ],
)
def test_an_unknown_option_and_a_missing_one_are_refused_in_one_line(script, arguments):
    unknown = launch(script, *arguments, "--wrokdir=x")
    missing = launch(script, *arguments[:-1])
    assert (unknown.returncode, missing.returncode) == (1, 1)
    assert "unknown option --wrokdir=x" in unknown.stderr
    assert "--workdir=" in missing.stderr
    assert unknown.stdout == missing.stdout == ""
    assert [len(result.stderr.splitlines()) for result in (unknown, missing)] == [1, 1]


def test_the_evaluation_follows_the_training():
    (words,) = dry("eval_job.sh", *EVALUATION, "--solver=sgd", "--taps=block4,pre_logits")
    expected = ["-m", "lens_jax.linear_eval", "--checkpoint=gs://b/my run", "--follow"]
    assert words == ["python", *expected, "--solver=sgd", "--taps=block4,pre_logits"]


def test_outside_of_a_job_slurm_is_given_the_script_and_all_its_words():
    (words,) = dry("gpu_slurm.sh", *NODES, *AWKWARD)
    assert words[0] == "sbatch"
    assert {"--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--requeue"} <= set(words)
    assert words[words.index("launch/gpu_slurm.sh") + 1 :] == [*NODES, "--dry-run", "--", *AWKWARD]


def test_inside_a_job_one_process_is_started_for_each_gpu():
    (words,) = dry("gpu_slurm.sh", *NODES, *AWKWARD, SLURM_JOB_ID="7")
    assert words[0] == "srun"
    assert words[words.index("lens_jax.main") + 1 :] == [
        "--config=configs/rotation.py",
        "--workdir=/shared/my run",
        *AWKWARD,
    ]


@pytest.mark.parametrize(
    ("status", "requeued", "returned"), [(75, True, 0), (0, False, 0), (3, False, 3)]
)
def test_only_status_75_puts_a_job_back_into_the_queue(status, requeued, returned, tmp_path):
    stand_in(tmp_path, "scontrol", "exit 0")
    environment = stand_in(tmp_path, "srun", f"exit {status}")
    result = launch(
        "gpu_slurm.sh", *NODES, SLURM_JOB_ID="7", SLURM_SUBMIT_DIR=str(REPOSITORY), **environment
    )
    assert result.returncode == returned
    assert (["scontrol", "requeue", "7"] in calls(tmp_path)) == requeued


def test_a_pod_is_asked_for_installed_checked_trained_and_given_back():
    commands = dry("tpu_pod.sh", *POD, "--spot", "--delete", *AWKWARD)
    assert commands[0][:2] == ["git", "archive"]
    assert [words[3:5] for words in commands[1:]] == [
        ["queued-resources", "create"],
        ["tpu-vm", "scp"],
        ["tpu-vm", "ssh"],
        ["tpu-vm", "ssh"],
        ["tpu-vm", "ssh"],
        ["queued-resources", "delete"],
    ]
    assert {"pod", "--zone=here", "--accelerator-type=v4-128", "--spot"} <= set(commands[1])
    assert all("--worker=all" in words for words in commands[2:6])


def test_the_words_for_the_workers_arrive_as_they_are_and_their_output_is_kept(tmp_path):
    check, train = dry("tpu_pod.sh", *POD, *AWKWARD)[-2:]
    for words, module in ((check, "lens_jax.check"), (train, "lens_jax.main")):
        (remote,) = [
            word.removeprefix("--command=") for word in words if word.startswith("--command=")
        ]
        remote = remote.replace(".venv/bin/python", "printf '%s\\n'").replace("cd lens_jax && ", "")
        arrived = subprocess.run(
            ["bash", "-c", remote], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        expected = [
            "-m",
            module,
            "--config=configs/rotation.py",
            "--workdir=gs://b/my run",
            *AWKWARD,
        ]
        assert arrived.splitlines() == expected
        assert (tmp_path / "output.log").read_text().endswith(arrived)


def test_a_failure_of_a_worker_is_not_hidden_by_the_keeping_of_its_output(tmp_path):
    (words,) = dry("tpu_pod.sh", *POD, *AWKWARD)[-1:]
    (remote,) = [word.removeprefix("--command=") for word in words if word.startswith("--command=")]
    remote = remote.replace(".venv/bin/python -m", "sh -c 'exit 75'").replace("cd lens_jax && ", "")
    assert subprocess.run(["bash", "-c", remote], cwd=tmp_path, check=False).returncode == 75


def test_the_evaluation_gets_a_tpu_of_its_own():
    commands = dry("tpu_pod.sh", *POD, "--eval-type=v4-8", "--delete", *AWKWARD)
    remote = [" ".join(words) for words in commands]
    assert sum("lens_jax.linear_eval --checkpoint=" in line for line in remote) == 1
    deleted = [words[5] for words in commands if words[3:5] == ["queued-resources", "delete"]]
    assert deleted == ["pod", "pod-eval"]


GCLOUD = """
here=$(dirname "$0")
case "$*" in
  *describe*) cat "$here/state" 2>/dev/null ;;
  *create*) echo ACTIVE > "$here/state" ;;
  *delete*) rm -f "$here/state" ;;
  *lens_jax.main*)
    echo run >> "$here/runs"
    status=$(sed -n "$(wc -l < "$here/runs")p" "$here/statuses")
    case $status in taken) echo SUSPENDED > "$here/state"; exit 255 ;; *) exit "$status" ;; esac ;;
esac
"""


@pytest.mark.parametrize(
    ("statuses", "returned", "created"),
    [(("75", "taken", "0"), 0, 2), (("0",), 0, 1), (("1",), 1, 1)],
)
def test_a_preempted_pod_trains_on_and_a_mistake_ends_it(statuses, returned, created, tmp_path):
    environment = stand_in(tmp_path, "gcloud", GCLOUD)
    (tmp_path / "statuses").write_text("\n".join(statuses) + "\n")
    result = launch("tpu_pod.sh", *POD, "--delete", **environment)
    assert result.returncode == returned, result.stdout + result.stderr
    words = [" ".join(call) for call in calls(tmp_path)]
    assert sum("lens_jax.main" in line for line in words) == len(statuses)
    assert sum("queued-resources create" in line for line in words) == created
    assert not (tmp_path / "state").exists()


def manifest(*arguments: str) -> tuple[dict, dict]:
    """The Service and the Job."""
    result = launch("gke_job.sh", *arguments[:-2], "--dry-run", "--", *arguments[-2:])
    assert result.returncode == 0, result.stderr
    return tuple(yaml.safe_load_all(result.stdout.partition("\n")[2]))


def test_the_pods_of_a_job_find_their_first_one():
    service, job = manifest(*PODS, *AWKWARD)
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"] == "pod"
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 4)
    variables = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
    assert variables["JAX_COORDINATOR_ADDRESS"]["value"].startswith("pod-0.pod:")
    assert variables["JAX_NUM_PROCESSES"]["value"] == "4"
    assert "job-completion-index" in str(variables["JAX_PROCESS_ID"])


def test_a_job_runs_the_words_on_the_nodes_that_it_was_given():
    options = (
        "--select=example.com/topology=4x4x4",
        "--resource=google.com/tpu",
        "--per-node=4",
    )
    _, job = manifest(*PODS, *options, *AWKWARD)
    pod = job["spec"]["template"]["spec"]
    expected = ["--config=configs/rotation.py", "--workdir=gs://b/my run", *AWKWARD]
    assert pod["containers"][0]["command"] == ["python", "-m", "lens_jax.main", *expected]
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": "4"}
    assert pod["nodeSelector"] == {"example.com/topology": "4x4x4"}


def test_a_job_starts_again_at_75_and_ends_at_1():
    _, job = manifest(*PODS, *AWKWARD)
    rules = {rule["action"]: [] for rule in job["spec"]["podFailurePolicy"]["rules"]}
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        rules[rule["action"]] += rule.get("onExitCodes", {}).get("values", [])
    assert rules == {"FailJob": [1], "Ignore": [75, 134]}
