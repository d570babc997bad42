"""Network namespaces that are nodes for Open MPI, joined by a bridge whose ports are shaped to a rate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SUBNET = "10.77.0"
INTERFACE = "hpc0"
"""Of a node; the bridge's ports are port0, port1, …"""
BURST, QUEUE, MTU = "128kb", "50ms", 9000
"""Of a token bucket: what it passes at once, and how long it holds packets; large packets keep the kernel's share small."""
PRIVATE = Path("/run")
"""A file system of this run's own covers it: the names of namespaces, MPI's sockets and the agent."""
AGENT = """\
#!/bin/bash
# Stands in for ssh: the host is an address, the rest is what to start in its node's namespace.
while [[ "$1" == -* ]]; do shift; done
node=node$((${1##*.} - 1)); shift
exec ip netns exec $node unshare --uts sh -c "hostname $node; $*"
"""


def isolated(command: list[str]) -> int:
    """Exit code of a command in namespaces of its own: processes, mounts, network and host name.

    When it ends, or this process is stopped by any signal, the kernel kills all that was started in there; with the last process
    the namespaces within, their bridge and their files are gone. No other namespace is touched.
    """
    tied = ["setpriv", "--pdeathsig", "KILL"]  # dies with this process
    own = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]

    def stop(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    process = subprocess.Popen([*tied, *own, *command])
    try:
        return process.wait()
    finally:  # unshare passes no signal on, but takes its processes with it
        process.kill()
        process.wait()


class Nodes:
    """Namespaces node0, node1, … Only for a process that `isolated` started."""

    def __init__(self, count: int) -> None:
        """Raises RuntimeError where the kernel refuses."""
        self.count = count
        for path in (PRIVATE, Path("/dev/shm")):
            _run("mount", "-t", "tmpfs", "tmpfs", str(path))
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "switch", "mtu", str(MTU), "type", "bridge")
        _run("ip", "link", "set", "switch", "up")
        for node in range(count):
            name, port = f"node{node}", f"port{node}"
            _run("ip", "netns", "add", name)
            _run(
                "ip",
                "link",
                "add",
                port,
                "mtu",
                str(MTU),
                "type",
                "veth",
                "peer",
                "name",
                INTERFACE,
                "mtu",
                str(MTU),
                "netns",
                name,
            )
            _run("ip", "link", "set", port, "master", "switch", "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "address", "add", f"{SUBNET}.{node + 1}/24", "dev", INTERFACE)
            _run("ip", "-n", name, "link", "set", INTERFACE, "up")
        self.agent = PRIVATE / "agent"
        self.agent.write_text(AGENT, encoding="utf-8")
        self.agent.chmod(0o700)

    def shape(self, rate: float | None) -> None:
        """What a node sends and receives is limited to `rate` [Gbit/s] each, by None not at all."""
        for node in range(self.count):
            for where, interface in ((["-n", f"node{node}"], INTERFACE), ([], f"port{node}")):
                subprocess.run(["tc", *where, "qdisc", "del", "dev", interface, "root"], capture_output=True, check=False)
                if rate is not None:
                    bucket = ["tbf", "rate", f"{1e3 * rate:g}mbit", "burst", BURST, "latency", QUEUE]
                    _run("tc", *where, "qdisc", "add", "dev", interface, "root", *bucket)

    def mpirun(self, ranks: int, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """`command` on that many ranks of each node; what it prints is kept."""
        hosts = ",".join(f"{SUBNET}.{node + 1}:{ranks}" for node in range(self.count))
        options = {
            "plm_rsh_agent": str(self.agent), "pml": "ob1", "btl": "vader,tcp,self", "btl_tcp_if_include": f"{SUBNET}.0/24",
            "oob_tcp_if_include": f"{SUBNET}.0/24", "rmaps_base_oversubscribe": "1",
        }  # fmt: skip
        if ranks * self.count > len(os.sched_getaffinity(0)):
            options["mpi_yield_when_idle"] = "1"
        words = ["mpirun", "--quiet", "--allow-run-as-root", "-n", str(ranks * self.count), "--host", hosts, "--bind-to", "none"]
        words += [word for name, value in options.items() for word in ("--mca", name, value)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX", "PRTE"))}
        first = ["ip", "netns", "exec", "node0", "unshare", "--uts", "sh", "-c", 'hostname node0; exec "$@"', "sh"]
        return subprocess.run(
            [*first, *words, *command], env=environment | {"TMPDIR": str(PRIVATE)}, stdout=subprocess.PIPE, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip


def _run(*words: str) -> None:
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {ran.stderr.strip()}")
