#!/bin/bash
# One large run on 256 ranks: 4 nodes with 64 cores each. At the project's root:
#   sbatch jobs/many_nodes.sh
# Other nodes: 128 cores each would be sbatch --nodes=2 --ntasks-per-node=128 jobs/many_nodes.sh. Use every core of a node,
# since ranks share its memory bandwidth anyway, and so many ranks that each keeps some cells:
#   mpirun -n 256 --oversubscribe python -m hpcwigner check inputs/ws2_20K_2d.yaml      # unknowns, memory per rank
# Before the first large job, run a small one once (jobs/single_node.sh): it leaves compiled kernels and the archive of Python
# modules, with which 256 ranks open 360 files each at start instead of 900 (tools/startup counts them).
# After some 1000 ranks on a shared file system, copy the environment to the nodes first (sbcast).
# The job stops with a checkpoint before its time limit; submitted again, it goes on. jobs/chain.sh does that by itself.
#SBATCH --job-name=hpcwigner-256
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --output=hpcwigner-%j.out
##SBATCH --partition=FILL_IN
##SBATCH --account=FILL_IN
set -euo pipefail

# Slurm runs a copy of this script elsewhere: the files beside it are found from the directory of sbatch.
common=${SLURM_SUBMIT_DIR:-.}/jobs/common.sh
[ -r "$common" ] || { echo "$common is missing: call sbatch at the project's root" >&2; exit 1; }
. "$common"

hpcwigner_prepare inputs/ws2_20K_2d.yaml
hpcwigner_run "$HPCWIGNER_OUTPUT"
hpcwigner_end
