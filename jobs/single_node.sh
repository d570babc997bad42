#!/bin/bash
# One run on one node. At the project's root:
#   sbatch jobs/single_node.sh
#   HPCWIGNER_INPUT=inputs/ws2_77K.yaml sbatch --ntasks=32 --time=00:30:00 jobs/single_node.sh
# Options of sbatch win over the #SBATCH lines. The job stops with a checkpoint before its time limit; submitted again, it
# goes on. What else may be set is at the top of jobs/common.sh, where your cluster's modules go, too.
#SBATCH --job-name=hpcwigner
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=hpcwigner-%j.out
##SBATCH --partition=FILL_IN
##SBATCH --account=FILL_IN
set -euo pipefail

# Slurm runs a copy of this script elsewhere: the files beside it are found from the directory of sbatch.
common=${SLURM_SUBMIT_DIR:-.}/jobs/common.sh
[ -r "$common" ] || { echo "$common is missing: call sbatch at the project's root" >&2; exit 1; }
. "$common"

hpcwigner_prepare inputs/ws2_20K.yaml
hpcwigner_run "$HPCWIGNER_OUTPUT"
hpcwigner_end
