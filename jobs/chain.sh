#!/bin/bash
# A run that is longer than the time limit: it stops with a checkpoint before the limit, goes back to the queue by itself
# and goes on from there, until it is done. At the project's root:
#   HPCWIGNER_INPUT=inputs/ws2_20K_2d.yaml sbatch --nodes=2 --ntasks=128 jobs/chain.sh
# It keeps its job number and appends to one log. To end it: scancel NUMBER. To end it with a checkpoint: scontrol update
# JobId=NUMBER Requeue=0, then touch RUN_DIRECTORY/STOP; submitted again, it goes on. The results equal, bit by bit, those
# of a run without interruptions on as many ranks (tools/slurm-test checks that).
# HPCWIGNER_MAX_RESTARTS (100) bounds the number of restarts.
#SBATCH --job-name=hpcwigner-chain
#SBATCH --nodes=1
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hpcwigner-%j.out
# Slurm signals the batch script (B:) this many seconds before the limit, or up to a minute earlier: leave time for a
# checkpoint. hpcwigner itself stops 90 s before the limit, should the signal not come.
#SBATCH --signal=B:USR1@120
##SBATCH --partition=FILL_IN
##SBATCH --account=FILL_IN
set -euo pipefail

# Slurm runs a copy of this script elsewhere: the files beside it are found from the directory of sbatch.
common=${SLURM_SUBMIT_DIR:-.}/jobs/common.sh
[ -r "$common" ] || { echo "$common is missing: call sbatch at the project's root" >&2; exit 1; }
. "$common"

hpcwigner_prepare inputs/ws2_20K_2d.yaml
restarts=${SLURM_RESTART_COUNT:-0}
latest() { cat "$HPCWIGNER_OUTPUT/checkpoints/latest" 2>/dev/null || true; }
before=$(latest)

# Slurm also requeues a job whose node failed. If that was before the first checkpoint, there is nothing to go on from: put
# the incomplete files of this very job aside and begin again.
mine=$HPCWIGNER_OUTPUT/chain.$SLURM_JOB_ID
if [ -z "$before" ] && [ "$restarts" -gt 0 ] && [ -e "$mine" ]; then
  say "no checkpoint to go on from: moving $HPCWIGNER_OUTPUT to $HPCWIGNER_OUTPUT.incomplete.$SLURM_JOB_ID.$restarts"
  mv "$HPCWIGNER_OUTPUT" "$HPCWIGNER_OUTPUT.incomplete.$SLURM_JOB_ID.$restarts"
fi
# A directory without run files is ours from now on.
if [ ! -e "$HPCWIGNER_OUTPUT/input.yaml" ]; then mkdir -p "$HPCWIGNER_OUTPUT" && touch "$mine"; fi

hpcwigner_run "$HPCWIGNER_OUTPUT"

if [ "$hpcwigner_exit" -eq 3 ]; then
  [ "$(latest)" != "$before" ] || die "no new checkpoint since the last start: is the time limit too short? Not requeued"
  [ "$restarts" -lt "${HPCWIGNER_MAX_RESTARTS:-100}" ] || die "restarted $restarts times (HPCWIGNER_MAX_RESTARTS): not requeued"
  say "stopped with checkpoint $(latest): back to the queue"
  scontrol requeue "$SLURM_JOB_ID" || die "cannot requeue: submit the same script again to go on"
  exit 0  # Slurm ends this script about now, and starts it again later
fi
rm -f "$mine"
hpcwigner_end
