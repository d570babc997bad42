# Sourced by the job scripts beside it; not a job by itself. It offers:
#   hpcwigner_prepare DEFAULT_INPUT [SUFFIX]
#                                      enter the directory of sbatch, set the defaults below, check that nothing is missing
#   hpcwigner_run DIR [OPTIONS]        run the input into DIR, or restart DIR; the exit code is in $hpcwigner_exit
#   hpcwigner_end                      end the job script with that code, and say what it means
#
# Variables to set before sbatch, which passes the environment on (sbatch --export=ALL, its default):
#   HPCWIGNER_INPUT         input file                                default: see each script
#   HPCWIGNER_OUTPUT        run directory                             default: runs/NAME_OF_THE_INPUT and the suffix
#   PYTHON                  Python that has hpcwigner (one program)   default: .venv/bin/python, else python3
#   HPCWIGNER_ENVIRONMENT   file made by jobs/pack_environment.sh     default: none, the program starts from where it is
#   HPCWIGNER_LOCAL         node-local directory to unpack it in      default: /tmp
#   MPIRUN_ARGS             options of mpirun                         default: one rank per core
# Paths are relative to the directory in which sbatch was called: call it at the project's root.

die() { echo "$(date '+%F %T') job ${SLURM_JOB_ID:-?}: $*" >&2; exit 1; }
say() { echo "$(date '+%F %T') job ${SLURM_JOB_ID:-?}: $*"; }

hpcwigner_prepare() {
  [ -n "${SLURM_JOB_ID:-}" ] || die "this is a job script: sbatch $0"
  cd "${SLURM_SUBMIT_DIR:-.}" || die "cannot enter '${SLURM_SUBMIT_DIR:-}'"

  # --- Fill in: what makes mpirun and Python available on your cluster. One of:
  # module purge && module load gcc openmpi hdf5-parallel openblas          # as for tools/setup --from-source
  # source ~/miniforge3/etc/profile.d/conda.sh && conda activate hpcwigner  # conda-forge

  # One thread per rank: MPI starts a rank on each core.
  export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
  MPIRUN_ARGS=${MPIRUN_ARGS---map-by core --bind-to core}  # MPICH, Intel MPI: MPIRUN_ARGS="-bind-to core"

  # --- MPI-IO on a parallel file system (Lustre, GPFS). Checkpoints are one file written by all ranks. First try the input:
  #   checkpoint: {writes: collective, alignment: 4 MiB, hints: {romio_cb_write: enable, striping_factor: "8"}}
  # Hints for every file that ROMIO opens, in a file of lines "key value":
  # export ROMIO_HINTS=$PWD/romio_hints
  # Open MPI's default is OMPIO, which ignores ROMIO's hints. To choose ROMIO (its name depends on the version), or OMPIO:
  # export OMPI_MCA_io=romio321     # Open MPI 4;  romio341 in 5;  ompio
  # Lustre stripes belong to the directory, before the first run: lfs setstripe -c 8 runs

  HPCWIGNER_INPUT=${HPCWIGNER_INPUT:-$1}
  [ -r "$HPCWIGNER_INPUT" ] || die "cannot read the input '$HPCWIGNER_INPUT' in $PWD: set HPCWIGNER_INPUT, or sbatch at the project's root"
  local name
  name=$(basename "$HPCWIGNER_INPUT")
  HPCWIGNER_OUTPUT=${HPCWIGNER_OUTPUT:-runs/${name%.*}${2:-}}
  if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -x .venv/bin/python ]; then PYTHON=$PWD/.venv/bin/python; fi
  fi
  # Python puts the current directory, the project's, before all others when it runs a module; -P keeps it out.
  hpcwigner_python=("$PYTHON")
  if [ -n "${HPCWIGNER_ENVIRONMENT:-}" ]; then hpcwigner_unpack; fi
  command -v mpirun >/dev/null || die "mpirun is not on the PATH: fill in the module or conda lines in jobs/common.sh"
  local program
  program=$("${hpcwigner_python[@]}" -c 'import hpcwigner, os; print(os.path.dirname(hpcwigner.__file__))') ||
    die "'${hpcwigner_python[*]}' cannot import hpcwigner: tools/setup makes .venv, or set PYTHON"
  say "program in $program"
  say "start ${SLURM_RESTART_COUNT:-0} on ${SLURM_JOB_NODELIST:-?}: $HPCWIGNER_INPUT, ${SLURM_NTASKS:-?} ranks"
}

# Runs a command once on each node of the job.
hpcwigner_on_nodes() { srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 "$@"; }

# Copies the packed environment to the local disk of each node and unpacks it there, until the job ends. Thousands of ranks
# that each open a thousand files of one shared file system would wait for it.
hpcwigner_unpack() {
  local began=$SECONDS
  [ -r "$HPCWIGNER_ENVIRONMENT" ] || die "cannot read '$HPCWIGNER_ENVIRONMENT': jobs/pack_environment.sh makes it"
  hpcwigner_local=${HPCWIGNER_LOCAL:-/tmp}/hpcwigner-$SLURM_JOB_ID
  trap 'hpcwigner_on_nodes rm -rf "$hpcwigner_local" "$hpcwigner_local.tar" || true' EXIT
  hpcwigner_on_nodes sh -c 'rm -rf "$0" && mkdir -p "$0"' "$hpcwigner_local" || die "cannot make $hpcwigner_local on the nodes"
  sbcast --force "$HPCWIGNER_ENVIRONMENT" "$hpcwigner_local.tar" || die "sbcast failed"
  hpcwigner_on_nodes sh -c 'tar -xf "$0.tar" -C "$0" && rm "$0.tar"' "$hpcwigner_local" || die "cannot unpack on the nodes"
  hpcwigner_python=("$hpcwigner_local/.venv/bin/python" -P)
  say "environment unpacked in $hpcwigner_local in $((SECONDS - began)) s"
}

# Slurm signals the batch script alone (--signal=B:...). mpirun therefore runs in the background, so that bash can react at
# once and pass the signal on; mpirun hands it to the ranks, which write a checkpoint and end with exit code 3.
# SIGTERM (scancel) cannot ask for a checkpoint here: Open MPI's mpirun kills the ranks 1 s after it and returns 1.
# To ask a running job for one: touch RUN_DIRECTORY/STOP.
hpcwigner_run() {
  local output=$1 restart=() mpirun='' signalled='' again
  shift
  mkdir -p "$(dirname "$output")" || die "cannot make the directory of '$output'"
  if [ -e "$output/checkpoints/latest" ]; then
    restart=(--restart latest)
    say "going on from checkpoint $(cat "$output/checkpoints/latest") in $output"
  fi
  trap 'signalled=yes; say "SIGUSR1: asking for a checkpoint"; [ -z "$mpirun" ] || kill -USR1 "$mpirun" || true' USR1
  # MPIRUN_ARGS is a list of words. Without SLURM_NTASKS, mpirun takes every core that Slurm gave.
  # shellcheck disable=SC2086
  mpirun $MPIRUN_ARGS ${SLURM_NTASKS:+-n "$SLURM_NTASKS"} \
    "${hpcwigner_python[@]}" -m hpcwigner "$HPCWIGNER_INPUT" --output "$output" "${restart[@]}" "$@" &
  mpirun=$!
  hpcwigner_exit=0
  wait "$mpirun" || hpcwigner_exit=$?
  # A trapped signal ends `wait` with a code above 128 while mpirun goes on: wait again for its own code. (127: it had
  # ended already, and the first code was its own.)
  if [ -n "$signalled" ] && [ "$hpcwigner_exit" -gt 128 ]; then
    again=0
    wait "$mpirun" || again=$?
    if [ "$again" -ne 127 ]; then hpcwigner_exit=$again; fi
  fi
  trap '' USR1  # a late signal must not end the script
  say "hpcwigner ended with exit code $hpcwigner_exit"
}

hpcwigner_end() {
  case $hpcwigner_exit in
    0) say "done" ;;
    2) say "the input or the run directory is not right: see the line that begins with 'hpcwigner:'" ;;
    3) say "stopped with a checkpoint: submit the same script again to restart from it" ;;
    *) say "failed: see above, and run.log in the run directory" ;;
  esac
  exit "$hpcwigner_exit"
}
