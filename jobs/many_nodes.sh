#!/bin/bash
# One large run on 256 ranks: 4 nodes with 64 cores each, 6e8 unknowns, some minutes. At the project's root:
#   sbatch jobs/many_nodes.sh
# Other nodes: 128 cores each would be sbatch --nodes=2 --ntasks-per-node=128 jobs/many_nodes.sh. Use every core of a node,
# since ranks share its memory bandwidth anyway, and only as many ranks as leave each at least 16×16 cells: jobs/README.md
# has the efficiencies. What a run needs on your ranks:
#   mpirun -n 256 --oversubscribe .venv/bin/python -m hpcwigner check inputs/ws2_20K_2d_512.yaml
# With many nodes, start from their local disks (jobs/pack_environment.sh):
#   HPCWIGNER_ENVIRONMENT=environment.tar sbatch jobs/many_nodes.sh
# The job stops with a checkpoint before its time limit; submitted again, it restarts from it. jobs/chain.sh does that by itself.
#SBATCH --job-name=hpcwigner-256
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=64
#SBATCH --cpus-per-task=1
#SBATCH --exclusive
#SBATCH --time=00:30:00
#SBATCH --signal=B:USR1@300
#SBATCH --output=hpcwigner-%j.out
##SBATCH --partition=FILL_IN
##SBATCH --account=FILL_IN
set -euo pipefail

# Slurm runs a copy of this script elsewhere: the files beside it are found from the directory of sbatch.
common=${SLURM_SUBMIT_DIR:-.}/jobs/common.sh
[ -r "$common" ] || { echo "$common is missing: call sbatch at the project's root" >&2; exit 1; }
. "$common"

hpcwigner_prepare inputs/ws2_20K_2d_512.yaml
hpcwigner_run "$HPCWIGNER_OUTPUT"
hpcwigner_end
