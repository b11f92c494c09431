"""The code of the documentation, run as a reader would."""

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[1]


def test_the_method_of_the_page_on_adding_one_trains(tmp_path):
    page = (REPOSITORY / "docs" / "adding_a_method.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=REPOSITORY,
        env={
            "PYTHONPATH": str(REPOSITORY),
            "PATH": "/usr/bin:/bin",
            "TFDS_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "trained to step 20" in result.stdout
