#!/usr/bin/env bash
# Pack the program and its Python environment into one tar file, which jobs copy to the local disks of their nodes:
#   jobs/pack_environment.sh [FILE]                                        default: environment.tar
#   HPCWIGNER_ENVIRONMENT=environment.tar sbatch jobs/many_nodes.sh
# Run it where processors are those of the compute nodes: the kernels compiled here are packed too, and other processors
# compile their own. Pack again after every change of the program or of the environment.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,6s/^# //p' "$0"; exit 0 ;; esac
file=$(realpath -m "${1:-environment.tar}")
. "$(dirname "$0")/../tools/environment"
cd "$root"
extra=$(mktemp -d)
trap 'rm -rf "$extra"' EXIT

# Nodes unpack to other paths than this one. Python finds its environment beside its executable; the package is found by a
# path relative to site-packages, in place of the absolute one of an editable installation.
site=$("$python" -c 'import os, sys, sysconfig; print(os.path.relpath(sysconfig.get_paths()["purelib"], sys.prefix))')
mkdir -p "$extra/$site"
echo "$(sed 's,[^/]*,..,g' <<<"$site")/.." >"$extra/$site/hpcwigner_packed.pth"
"$python" -c 'from hpcwigner.storage.provenance import git_revision; print(git_revision())' >"$extra/REVISION"

# Modules and kernels are compiled now, not by every node.
PYTHONPATH=$root "$python" -P -c 'from mpi4py import MPI; from hpcwigner.runtime.compile import warm_up; warm_up(MPI.COMM_SELF)'
"$python" -m compileall -q hpcwigner "$venv/$site" >/dev/null || true # some packages carry files for other Pythons

# The posix format keeps fractions of seconds: numba compiles again when a source file's time has changed.
tar --format=posix --exclude='__editable__*' --transform='s,^\./,.venv/,S' -cf "$file.part" \
  hpcwigner -C "$extra" REVISION "./$site/hpcwigner_packed.pth" -C "$venv" .
mv "$file.part" "$file"
echo "$file: $(($(stat -c %s "$file") >> 20)) MiB"
