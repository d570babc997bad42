#!/bin/bash
# The same input at several temperatures, each a job of its own. At the project's root:
#   sbatch jobs/array_temperatures.sh
#   HPCWIGNER_TEMPERATURES="10 50 100" sbatch --array=0-2%2 jobs/array_temperatures.sh     # two at a time
# --array=0-N needs N+1 temperatures [K]. Results: HPCWIGNER_OUTPUT_TEMPERATUREK, e.g. runs/ws2_20K_at_77K. A task that hit
# its time limit goes on when submitted again: sbatch --array=1 jobs/array_temperatures.sh.
#SBATCH --job-name=hpcwigner-T
#SBATCH --array=0-3
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

read -ra temperatures <<<"${HPCWIGNER_TEMPERATURES:-20 77 150 300}"
task=${SLURM_ARRAY_TASK_ID:?this script needs sbatch --array=0-N}
[ "$task" -lt "${#temperatures[@]}" ] || die "task $task of the array has no temperature: there are ${#temperatures[@]}, from 0"
temperature=${temperatures[task]}

hpcwigner_prepare inputs/ws2_20K.yaml
hpcwigner_run "${HPCWIGNER_OUTPUT}_at_${temperature}K" --set "temperature=$temperature K"
hpcwigner_end
