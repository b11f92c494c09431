#!/usr/bin/env bash
# Trains on a Cloud TPU pod, from the request for it to its deletion:
#   bash launch/tpu_pod.sh --name=NAME --zone=ZONE --type=v4-128 --workdir=gs://BUCKET/run \
#     [--config=configs/rotation.py] [--runtime=tpu-ubuntu2204-base] [--spot] [--eval-type=v4-8] [--delete] \
#     [--dry-run] [-- TRAINING OPTIONS]
# The last commit is installed on all workers, then checked, then trained. A pod that was taken away is asked
# for anew, and exit status 75 (preempted, start me again) starts the training again: both go on from the
# newest checkpoint. --eval-type judges the checkpoints on a TPU of its own, NAME-eval, meanwhile.
# --delete gives the TPUs back at the end, however it ends. The script has to run as long as the training:
# start it in tmux on a machine that stays on. Started again with the same --name, it uses the pod that is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name='' zone='' type='' workdir='' config=configs/rotation.py runtime=tpu-ubuntu2204-base eval_type=''
spot=() delete=false dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --name=?*) name=${1#*=} ;;
    --zone=?*) zone=${1#*=} ;;
    --type=?*) type=${1#*=} ;;
    --workdir=?*) workdir=${1#*=} ;;
    --config=?*) config=${1#*=} ;;
    --runtime=?*) runtime=${1#*=} ;;
    --eval-type=?*) eval_type=${1#*=} ;;
    --spot) spot=(--spot) ;;
    --delete) delete=true ;;
    --dry-run) dry_run=true ;;
    --) shift; break ;;
    *) echo "error: unknown option $1: use --name=, --zone=, --type=, --workdir=, --config=, --runtime=, --eval-type=, --spot, --delete, --dry-run, or -- before training options" >&2; exit 1 ;;
  esac
  shift
done
for option in name zone type workdir; do
  if [ -z "${!option}" ]; then
    echo "error: no --$option=: --name=, --zone=, --type= and --workdir= are needed" >&2
    exit 1
  fi
done
options=("$@")
poll_seconds=${POLL_SECONDS:-30}

run() {
  printf '+'; printf ' %q' "$@"; echo
  $dry_run || "$@"
}

# The state of a queued resource, such as ACTIVE, or nothing where there is none.
state() {
  $dry_run || gcloud compute tpus queued-resources describe "$1" --zone="$zone" --format='value(state.state)' 2>/dev/null || true
}

give_back() {
  run gcloud compute tpus queued-resources delete "$1" --zone="$zone" --force --quiet
}

# Waits until the TPU $1 of type $2 is there, and asks for it where nobody has.
obtain() {
  local now
  while true; do
    now=$(state "$1")
    case $now in
      ACTIVE) return ;;
      '') run gcloud compute tpus queued-resources create "$1" --node-id="$1" --zone="$zone" \
        --accelerator-type="$2" --runtime-version="$runtime" "${spot[@]}" ;;
      SUSPENDED | FAILED) give_back "$1" ;;
      *) echo "waiting for $1: $now" ;;
    esac
    if $dry_run; then return; fi
    sleep "$poll_seconds"
  done
}

# Runs a line of shell on all workers of the TPU $1.
on_workers() {
  run gcloud compute tpus tpu-vm ssh "$1" --zone="$zone" --worker=all --command="$2"
}

# Runs a module of lens_jax on all workers of the TPU $1; its words are quoted for the shell over there.
# What a worker prints is also kept there, as the output of all of them comes here mixed.
python_on() {
  local node=$1; shift
  on_workers "$node" "cd lens_jax && set -o pipefail && \
.venv/bin/python -m$(printf ' %q' "$@") 2>&1 | tee --append output.log"
}

# The pattern does not match the command line that holds it. Images for TPUs carry another Python than 3.11.
install() {
  run gcloud compute tpus tpu-vm scp "$archive" "$1:lens_jax.tar.gz" --zone="$zone" --worker=all &&
    on_workers "$1" "pkill --full '[p]ython -m lens_jax' || true; \
mkdir --parents lens_jax && tar --extract --gzip --file=lens_jax.tar.gz --directory=lens_jax && cd lens_jax && \
python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --clear --python=3.11 .venv && \
python3 -m uv pip install --quiet --python=.venv --constraint=constraints.txt --editable='.[tpu]'"
}

train() {
  python_on "$1" lens_jax.check --config="$config" --workdir="$workdir" "${options[@]}" &&
    python_on "$1" lens_jax.main --config="$config" --workdir="$workdir" "${options[@]}"
}

evaluate() {
  python_on "$1" lens_jax.linear_eval --checkpoint="$workdir" --follow
}

# Does $3, train or evaluate, on the TPU $1 of type $2 until it ends well, through preemptions.
keep_doing() {
  local status
  while true; do
    obtain "$1" "$2"
    status=0
    { install "$1" && "$3" "$1"; } || status=$?
    if [ "$status" = 0 ]; then return; fi
    sleep "$poll_seconds"  # a TPU that was just taken away is called ACTIVE a while longer
    if [ "$status" != 75 ] && [ "$(state "$1")" = ACTIVE ]; then return "$status"; fi
    echo "$1 was preempted: starting again"
  done
}

finish() {
  jobs -p | xargs --no-run-if-empty kill
  rm -rf "$(dirname "$archive")"
  if $delete; then
    give_back "$name"
    if [ -n "$eval_type" ]; then give_back "$name-eval"; fi
  fi
}

archive=$(mktemp --directory)/lens_jax.tar.gz
trap finish EXIT
run git archive --format=tar.gz --output="$archive" HEAD
if [ -n "$eval_type" ] && ! $dry_run; then
  keep_doing "$name-eval" "$eval_type" evaluate &
elif [ -n "$eval_type" ]; then
  keep_doing "$name-eval" "$eval_type" evaluate
fi
keep_doing "$name" "$type" train
wait  # for the last checkpoint to be judged
