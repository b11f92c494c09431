from benchmarks.augmentation_r2 import table


def test_runs_stand_side_by_side_and_what_one_of_them_does_not_vary_is_a_dash():
    found = table({"a": {"flip": 0.5, "mean": 0.5}, "longer name": {"top": -0.01, "mean": -0.01}})
    assert found == [
        "(1) a",
        "(2) longer name",
        "R2               (1)     (2)",
        "top                -  -0.010",
        "flip           0.500       -",
        "mean           0.500  -0.010",
    ]
