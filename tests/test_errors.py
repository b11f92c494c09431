import pytest

from lens_jax.errors import UserError, check_choice, check_range, one_line, reason

# What the libraries raised on a disk of 1 MB, or where a file was in the place of a folder.
TENSORSTORE = [
    (
        'RESOURCE_EXHAUSTED: Error writing "c/0/0" in OCDBT database at local file "/run/ocdbt/": '
        'Failed writing: "/run/ocdbt/d/96156968b953687d86f8af7fbaeb9605.__lock": Failed to write '
        "2959741 bytes to file 4: No space left on device [os_error_code='28']",
        "No space left on device",
    ),
    (
        'OUT_OF_RANGE: Error writing local file "/run/c/0/0": Failed writing: "/run/c/0/0.__lock": '
        "Failed to write 3999000 bytes to file 4: File too large [os_error_code='27']",
        "File too large",
    ),
    (
        'FAILED_PRECONDITION: Error opening "zarr3" driver: Error writing local file '
        '"/file/x/zarr.json": Failed to open directory: "/file/x": Not a directory '
        r"""[os_error_code='20'] [tensorstore_spec='{\"create\":true,\"driver\":\"zarr3\"}']""",
        "Not a directory",
    ),
]
TENSORFLOW = [
    ("/run/file; No space left on device", "No space left on device"),
    (
        "{{function_node __wrapped__CreateSummaryFileWriter_device_/job:localhost/replica:0/task:0/"
        "device:CPU:0}} /run/events.out.tfevents.1795661076.vm.4771.0.v2; No space left on device",
        "No space left on device",
    ),
    (
        "{{function_node __wrapped__CreateSummaryFileWriter_device_/job:localhost/replica:0/task:0/"
        "device:CPU:0}} /proc/run; No such file or directory [Op:CreateSummaryFileWriter] name: ",
        "No such file or directory",
    ),
]


@pytest.mark.parametrize(("message", "expected"), TENSORSTORE)
def test_the_reason_is_cut_out_of_what_tensorstore_raises(message: str, expected: str):
    assert reason(ValueError(message)) == expected


@pytest.mark.parametrize(("message", "expected"), TENSORFLOW)
def test_the_reason_is_cut_out_of_what_tensorflow_raises(message: str, expected: str):
    assert reason(OSError(message)) == expected


def test_the_reason_of_the_operating_system_comes_without_number_and_path(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        tmp_path.read_text()
    assert str(tmp_path) in str(caught.value)
    assert reason(caught.value) == "Is a directory"


def test_brackets_in_a_path_do_not_cut_the_reason_off():
    message = (
        'FAILED_PRECONDITION: Error writing "/runs/a [1]: b/c": Not a directory '
        "[os_error_code='20'] [source locations='x.cc:1']"
    )
    assert reason(ValueError(message)) == "Not a directory"


def test_a_message_without_a_path_is_its_own_reason():
    assert reason(ValueError("out of memory")) == "out of memory"


def test_one_line_joins_the_lines_of_an_error():
    assert one_line(ValueError("  first\n\n\tsecond  line\r\n")) == "first second line"
    assert one_line(ValueError()) == ""


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_value_in_its_range_or_at_its_ends_is_accepted(value: float):
    check_range("lens.raw_fraction", value, 0, 1)


@pytest.mark.parametrize("value", [-1e-9, 1.001, float("nan"), float("inf")])
def test_a_value_outside_of_its_range_is_refused_with_the_range(value: float):
    with pytest.raises(UserError) as caught:
        check_range("lens.raw_fraction", value, 0, 1)
    assert str(caught.value) == f"lens.raw_fraction is {value}: it must lie between 0 and 1"


def test_a_range_without_an_upper_end_has_none():
    check_range("seed", 1e300, 0)
    with pytest.raises(UserError, match="seed is -1: it must lie between 0 and inf"):
        check_range("seed", -1, 0)


def test_a_choice_is_refused_with_the_legal_ones():
    check_choice("solver", "sgd", ("lbfgs", "sgd"))
    with pytest.raises(UserError, match="unknown solver 'adam': choose one of lbfgs, sgd"):
        check_choice("solver", "adam", ("lbfgs", "sgd"))
