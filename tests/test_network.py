"""tools/network: what it refuses, that it leaves nothing behind, and a short run between namespaces."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT, clean_environment

NETWORK = [sys.executable, ROOT / "tools/network"]
SHORT = ["--cells", "3", "--rounds", "2", "--rates", "2"]


def network(*words, timeout=100, **environment):
    return subprocess.run(
        words, env=clean_environment() | environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def namespaces():
    """Skips where they cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing := [name for name in ("ip", "tc", "unshare", "setpriv") if shutil.which(name) is None]:
        pytest.skip(f"{missing[0]} is missing")
    link = "ip link add veth0 type veth peer name veth1 && tc qdisc add dev veth0 root tbf rate 2gbit burst 128kb latency 50ms"
    tried = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", link], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"namespaces and tbf are not allowed here: {tried.stderr.strip()}")


@pytest.mark.parametrize(
    "words", [("--rates", "fast"), ("--rates", "0"), ("--nodes", "3"), ("--cells", "2"), ("--ranks", "0"), ("--rounds", "1.5")]
)
def test_wrong_words_are_refused(called, words):
    code, out, err = called("network", *words)
    assert (code, out) == (2, "")
    assert f"argument {words[0]}: invalid" in err
    assert words[1] in err


def test_without_root_it_says_so():
    words = NETWORK
    if os.geteuid() == 0:  # files still belong to root, but the user is another one
        words = ["unshare", "--user", *NETWORK]
        if network("unshare", "--user", "true").returncode != 0:
            pytest.skip("user namespaces are not allowed here")
    ran = network(*words)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "network: needs root, to make network namespaces\n")


def test_without_iproute2_it_says_so(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    ran = network(*NETWORK, PATH=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "network: ip is missing; ip and tc are in the package iproute2\n"


def descendants(pid):
    """All processes that one has started, directly or not."""
    children = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(word) for word in tasks.read_text("ascii").split()]
    return [*children, *(process for child in children for process in descendants(child))]


def links():
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing_behind(number):
    before = links()
    process = subprocess.Popen([*NETWORK, *SHORT], env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("2 nodes of 1 ranks")
    deadline = time.monotonic() + 60
    started = []
    while not any("orted" in command(pid) for pid in started):  # until the job has come to the second node
        started = descendants(process.pid)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert links() == before
    process.send_signal(number)
    assert process.wait(timeout=20) != 0
    process.stdout.close()
    while alive := [pid for pid in started if command(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert not Path("/run/netns/node0").exists()


def command(pid):
    """Command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_a_job_that_fails_is_an_error():
    ran = network(*NETWORK, *SHORT, "--timeout", "1")
    assert ran.returncode == 1
    assert ran.stderr.endswith("network: the job at 2 Gbit/s took longer than 1 s\n")


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_a_short_run_between_namespaces():
    """Bytes at the interface are those counted, and the link is as slow as asked for."""
    ran = network(*NETWORK, *SHORT)
    assert ran.returncode == 0, ran.stderr
    names, _, numbers = (line.split("|")[1:-1] for line in ran.stdout.splitlines() if line.startswith("|"))
    row = dict(zip((name.strip() for name in names), (number.strip() for number in numbers), strict=True))
    assert row["cells per rank"] == "3×3"
    counted, sent = float(row["MB off a node: counted"]), float(row["sent"])
    assert counted == pytest.approx(2 * 2 * 3 * 35 / 16 * 8e-6 * 16 * 287, rel=0.01)
    assert counted < sent < 1.1 * counted
    assert float(row["measured"]) < 2 / (1 - 0.128 / (counted / 2))  # 128 kB of an exchange pass at once
    assert float(row["waiting, ms"]) > 0
    assert float(row["step, ms"]) > float(row["waiting, ms"])
    assert float(row["deviation"].rstrip("%")) > -100
