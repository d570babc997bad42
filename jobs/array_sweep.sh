#!/bin/bash
# A sweep, each of its points a job of its own. At the project's root:
#   sbatch jobs/array_sweep.sh
#   HPCWIGNER_INPUT=my_sweep.yaml HPCWIGNER_OUTPUT=runs/mine sbatch --array=0-99%8 jobs/array_sweep.sh      # eight at a time
# --array=0-N needs N+1 points: python -m hpcwigner check INPUT counts them. Points are full runs, whatever the input says of
# sweep.moments: by moments, python -m hpcwigner INPUT does all of them in seconds. Results: HPCWIGNER_OUTPUT/point_NNN. When
# all have ended, or before:
#   .venv/bin/python -m hpcwigner collect runs/ws2_temperature_sweep_runs
# A task that hit its time limit goes on when submitted again, and one that is done ends at once: submit the whole array again.
#SBATCH --job-name=hpcwigner-sweep
#SBATCH --array=0-11
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=hpcwigner-%A_%a.out
##SBATCH --partition=FILL_IN
##SBATCH --account=FILL_IN
set -euo pipefail

# Slurm runs a copy of this script elsewhere: the files beside it are found from the directory of sbatch.
common=${SLURM_SUBMIT_DIR:-.}/jobs/common.sh
[ -r "$common" ] || { echo "$common is missing: call sbatch at the project's root" >&2; exit 1; }
. "$common"

task=${SLURM_ARRAY_TASK_ID:?this script needs sbatch --array=0-N}
hpcwigner_prepare inputs/ws2_temperature_sweep.yaml _runs
hpcwigner_run "$HPCWIGNER_OUTPUT" --point "$task" --set sweep.moments=false
hpcwigner_end
