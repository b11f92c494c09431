import re

from lens_jax.pages import page
from lens_jax.report import change, recovery, runs, sections


def summarize_all(found: list[runs.TrainedRun]) -> dict[str, runs.Numbers]:
    """The numbers of each run by its name."""
    return {run.name: runs.summarize(run) for run in found}


def recover_all(found: list[runs.TrainedRun]) -> dict[str, list[recovery.Recovery]]:
    """What each run won back, by its name."""
    return {run.name: recovery.find_recoveries(run, found) for run in found}


def test_the_section_of_a_lens_run(add_run, accuracy, measured_lens, metrics_rows):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.52)])
    folder = add_run("lens", "arrow", "network", metrics_rows, [accuracy(0.77)])
    found = runs.find_runs(str(folder))
    numbers = summarize_all(found)
    numbers["lens"] |= change.shortcut_fractions(measured_lens.statistics)

    recoveries = recover_all(found)
    parts = sections.all_sections("runs", found, {"lens": measured_lens}, numbers, recoveries)
    text = page.document("title", parts)
    row = "<td>lens</td><td>linear accuracy, raw features</td>"
    assert f"{row}<td>28.0 points</td><td>3.0 points</td><td>89 %</td>" in text
    covered = "lies inside the shortcut&#x27;s mask, which covers 3.1 %"
    assert f"50.0 % of the squared change {covered}" in text
    assert text.count("<img alt=") == text.count("<img ") == 2 + 2 + 2 + 2 + 1


def test_the_table_says_what_altered_the_images_and_to_which_end(add_run, accuracy, metrics_rows):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.5)])
    add_run("noise", "arrow", "random", metrics_rows, [accuracy(0.53)])
    found = runs.find_runs(str(add_run("pgd", "arrow", "pgd", objective="full")))
    parts = sections.all_sections("runs", found, {}, summarize_all(found), recover_all(found))
    text = page.document("title", parts)

    settings = {}
    for row in re.findall("<tr>(.*?)</tr>", text):
        cells = re.findall("<td>(.*?)</td>", row)
        if len(cells) > 5:
            settings[cells[0]] = cells[-5:-1]
    assert settings == {
        "clean": ["rotation", "none", "none", "-"],
        "arrow": ["rotation", "arrow", "none", "-"],
        "noise": ["rotation", "arrow", "random", "-"],
        "pgd": ["rotation", "arrow", "pgd", "full"],
    }
    assert "<td>30.0 points</td><td>27.0 points</td><td>10 %</td>" in text


def test_a_cost_within_the_noise_is_called_that(add_run, accuracy):
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.79)])
    folder = add_run("lens", "arrow", "network", evaluations=[accuracy(0.81)])
    lines = sections.recovery_lines(recover_all(runs.find_runs(str(folder))))
    assert lines == [
        "\nlens, of what the shortcut cost:",
        "  linear accuracy, raw features: it cost 1.0 points, within the noise of 2.6 points",
    ]
