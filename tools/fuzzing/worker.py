"""Runs the verb `check` on the cases START…END in this process and judges each: python -m fuzzing.worker SEED START END FOLDER RATES LIMIT.

Prints a line "start NUMBER KIND" before each case, and "end NUMBER CODE PROBLEM" after it, the problem as JSON, empty if all is well. A
case's folder stays where there is one. Standard output and error of a case are those of the process: what C libraries print counts.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzzing.cases import write_case

MEMORY = 12 << 30  # Address space [bytes] of a worker; what a case asks for beyond it fails instead of filling the machine
DESCRIPTORS = (1, 2)


@contextmanager
def captured(folder: Path) -> Iterator[list[str]]:
    """Standard output and error of the process, as texts once the context has ended."""
    texts: list[str] = []
    sys.stdout.flush()
    kept = [os.dup(number) for number in DESCRIPTORS]
    with tempfile.TemporaryFile(dir=folder) as out, tempfile.TemporaryFile(dir=folder) as err:
        for number, file in zip(DESCRIPTORS, (out, err), strict=True):
            os.dup2(file.fileno(), number)
        try:
            yield texts
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip(DESCRIPTORS, kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))


def judge(code: int, stdout: str, stderr: str) -> str:
    """What is wrong with the answer of `check`; '' if nothing is."""
    if "Traceback" in stdout + stderr:
        return f"traceback: {stderr.strip().splitlines()[-1]}"
    if code not in (0, 2):
        return f"exit code {code}: {stderr.strip()[:500]}"
    lines = stderr.splitlines()
    if code == 0 and stderr:
        return f"exit code 0, but {len(lines)} lines on standard error: {stderr[:500]}"
    if code == 2 and (len(lines) != 1 or not stderr.startswith("hpcwigner: ") or not stderr.endswith("\n")):
        return f"exit code 2 with {len(lines)} lines instead of one: {stderr[:800]}"
    if code == 2 and stdout:
        return f"exit code 2 after output: {stdout[:300]}"
    if code == 2 and len(stderr) > LONGEST:
        return f"a message of {len(stderr)} characters: {stderr[:300]}"
    return "" if stderr.isprintable() or stderr.rstrip("\n").isprintable() else f"control characters in {stderr!r}"


LONGEST = 2000  # Characters of a message that people still read


def run_case(seed: int, number: int, folder: Path, rates: Path) -> tuple[int, str]:
    """Exit code and problem of a case, in folder/cases/NUMBER, which is removed if all is well."""
    case = folder / "cases" / str(number)
    work = case / "work"
    work.mkdir(parents=True)
    print(f"start {number} {write_case(seed, number, work, rates)}", flush=True)
    before = sorted(folder.rglob("*"))
    with captured(folder) as texts:
        code = _check(work)
    left = sorted(set(folder.rglob("*")) - set(before))
    problem = judge(code, *texts) or (f"left {', '.join(map(str, left))}" if left else "")
    if not problem:
        shutil.rmtree(case)
    return code, problem


def _check(work: Path) -> int:
    """The verb in the folder `work`, as a process of its own would do it."""
    from hpcwigner.cli.main import main

    os.chdir(work)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return int(main(["check", "input.yaml"]))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        os.chdir("/")


def allow(seconds: int) -> None:
    """Lets the system end this process after further seconds of processor time, so that a loaded machine makes no difference."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + seconds, resource.RLIM_INFINITY))


def make_rates(path: Path) -> None:
    """The file of rates that cases damage."""
    from fuzzing.cases import SMALL
    from hpcwigner.cli.main import main

    given = path.with_name("small.yaml")
    given.write_text(SMALL, encoding="utf-8")
    part = path.with_name(f"{os.getpid()}.h5")
    if main(["rates", str(given), "-o", str(part), "--quiet"]) != 0:
        raise SystemExit("the rates of the small input cannot be made")
    os.replace(part, path)


def main() -> None:
    (seed, start, end), (folder, rates), limit = map(int, sys.argv[1:4]), map(Path, sys.argv[4:6]), int(sys.argv[6])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from mpi4py import MPI  # noqa: F401 - MPI keeps files of its own in the temporary directory

    tempfile.tempdir = str(folder)  # a file that a case leaves there is seen
    os.environ["TMPDIR"] = str(folder)
    if not rates.exists():
        make_rates(rates)
    print("ready", flush=True)
    for number in range(start, end):
        allow(limit)
        code, problem = run_case(seed, number, folder, rates)
        print(f"end {number} {code} {json.dumps(problem)}", flush=True)


if __name__ == "__main__":
    main()
