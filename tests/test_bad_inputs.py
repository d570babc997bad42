"""Bad inputs and the exact line that refuses each of them (bad_inputs.txt)."""

import dataclasses
from pathlib import Path

import pytest

from hpcwigner.problem import loading
from hpcwigner.problem.config import Config
from hpcwigner.runtime.errors import InputError

MINIMAL = "material: ws2_hbn\ntemperature: 20 K\n"
TABLE = (Path(__file__).parent / "bad_inputs.txt").read_text(encoding="utf-8").strip().split("\n\n")[1:]


@pytest.mark.parametrize("case", TABLE, ids=[case.splitlines()[0] for case in TABLE])
def test_message(tmp_path, case):
    text, message, *_ = case.splitlines()
    text, *overrides = text.split(" --set ")
    path = tmp_path / "input.yaml"
    if text != "NO FILE":
        content = text.replace("EMPTY", "").replace("+", MINIMAL, 1).replace(" ⏎ ", "\n")
        path.write_text("\n".join(line.strip() for line in content.splitlines()), encoding="utf-8")
    with pytest.raises(InputError) as error:
        loading.load(path, overrides)
    top = ", ".join(sorted(field.name for field in dataclasses.fields(Config)))
    assert str(error.value).removeprefix(f"{path}: ") == message.strip().replace("{top}", top)
    assert str(error.value).startswith((f"{path}: ", "--set "))
