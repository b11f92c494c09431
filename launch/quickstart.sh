#!/usr/bin/env bash
# Trains on glyphs three times (clean; with an arrow that gives the rotation away; the same with a lens),
# evaluates each run and writes one report:
#   bash launch/quickstart.sh [--workdir=runs/quickstart] [--seed=0] [--dry-run] [-- TRAINING OPTIONS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir=runs/quickstart seed=0 dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --workdir=*) workdir=${1#*=} ;;
    --seed=*) seed=${1#*=} ;;
    --dry-run) dry_run=true ;;
    --) shift; break ;;
    *) echo "error: unknown option $1: use --workdir=, --seed=, --dry-run, or -- before training options" >&2; exit 1 ;;
  esac
  shift
done
extra=("$@")

run() {
  printf '+'; printf ' %q' "$@"; echo
  $dry_run || "$@"
}

train_and_judge() {
  local name=$1; shift
  run python -m lens_jax.main --config=configs/rotation.py:glyphs --workdir="$workdir/$name" \
    --config.seed="$seed" --config.data.dir="$workdir/data" "$@" "${extra[@]}"
  run python -m lens_jax.linear_eval --checkpoint="$workdir/$name" --dataset=glyphs --examples=5000 --taps=pre_logits
}

$dry_run || source launch/environment.sh
train_and_judge clean --config.lens.kind=none
train_and_judge arrow --config.lens.kind=none --config.shortcut=arrow
train_and_judge lens --config.shortcut=arrow
run python -m lens_jax.report --workdir="$workdir"
