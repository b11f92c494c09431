#!/usr/bin/env bash
# Trains on GPU nodes of a Slurm cluster, one process for each GPU:
#   bash launch/gpu_slurm.sh --nodes=N --workdir=DIR [--config=configs/rotation.py] [--gpus=8] [--cpus=8] \
#     [--dry-run] [-- TRAINING OPTIONS]
# --gpus are those of a node and --cpus those of a process. What the cluster wants besides is read by sbatch
# itself: export SBATCH_PARTITION, SBATCH_ACCOUNT and SBATCH_TIMELIMIT. Called outside of a job the script
# submits itself; inside it trains, and exit status 75 (preempted, start me again) puts it back into the queue.
set -euo pipefail
# Slurm runs a copy of this file, so inside a job its place says nothing.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
arguments=("$@")
config=configs/rotation.py workdir='' nodes='' gpus=8 cpus=8 dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --config=?*) config=${1#*=} ;;
    --workdir=?*) workdir=${1#*=} ;;
    --nodes=[1-9]*) nodes=${1#*=} ;;
    --gpus=[1-9]*) gpus=${1#*=} ;;
    --cpus=[1-9]*) cpus=${1#*=} ;;
    --dry-run) dry_run=true ;;
    --) shift; break ;;
    *) echo "error: unknown option $1: use --nodes=, --workdir=, --config=, --gpus=, --cpus=, --dry-run, or -- before training options" >&2; exit 1 ;;
  esac
  shift
done
if [ -z "$nodes" ] || [ -z "$workdir" ]; then
  echo "error: give both --nodes= and --workdir=, a folder that all nodes share" >&2
  exit 1
fi

run() {
  printf '+'; printf ' %q' "$@"; echo
  $dry_run || "$@"
}

submit() {
  # TERM comes two minutes before the time is over, so that the training can save.
  run sbatch --job-name=lens_jax --nodes="$nodes" --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
    --cpus-per-task="$cpus" --requeue --signal=TERM@120 --open-mode=append launch/gpu_slurm.sh "${arguments[@]}"
}

train() {
  # Every process sees all GPUs of its node, and JAX takes the one of its rank on the node.
  run srun --label --kill-on-bad-exit=1 --cpus-per-task="$cpus" --gpu-bind=none \
    .venv/bin/python -m lens_jax.main --config="$config" --workdir="$workdir" "$@"
}

if [ -z "${SLURM_JOB_ID:-}" ]; then
  submit
  exit
fi
status=0
train "$@" || status=$?
if [ "$status" = 75 ]; then
  run scontrol requeue "$SLURM_JOB_ID"
  status=0
fi
exit "$status"
