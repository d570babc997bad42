"""The container's recipe: what it copies exists, its sections are shell scripts. tools/try-debian runs them."""

import re
import subprocess

import pytest
from helpers import ROOT

RECIPE = (ROOT / "jobs/hpcwigner.def").read_text(encoding="utf-8")
HEADER, *PARTS = re.split(r"^%(\w+)\n", RECIPE, flags=re.MULTILINE)
SECTIONS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))


def test_sections_and_header_are_apptainers():
    """https://apptainer.org/docs/user/latest/definition_files.html"""
    keys = dict(line.split(": ", 1) for line in HEADER.splitlines() if line and not line.startswith("#"))
    assert keys.keys() == {"Bootstrap", "OSVersion", "MirrorURL"}
    assert keys["Bootstrap"] == "debootstrap"
    assert SECTIONS.keys() == {"files", "post", "environment", "runscript", "test"}


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_a_section_is_a_shell_script(name):
    ran = subprocess.run(["sh", "-n"], input=SECTIONS[name], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_is_copied_exists_and_is_all_that_is_used():
    copied = [line.split() for line in SECTIONS["files"].splitlines() if line.strip()]
    assert all((ROOT / source).exists() and target == "/opt/hpcwigner/" for source, target in copied)
    sources = {source for source, _ in copied}
    used = re.findall(r"/opt/hpcwigner/([\w./-]+)", SECTIONS["post"] + SECTIONS["test"])
    assert used
    for path in used:
        assert (ROOT / path).is_file()
        assert path.split("/")[0] in sources
    assert {"hpcwigner", "pyproject.toml", "README.md"} <= sources  # what pip needs to install the package
