#!/usr/bin/env bash
# Judges every checkpoint of a run as it comes, and ends when the training has:
#   bash launch/eval_job.sh --workdir=gs://BUCKET/run [--dry-run] [-- OPTIONS OF lens_jax.linear_eval]
# It needs devices of its own; on several machines, start it on each as the training. Started again, it judges the checkpoints that are still kept anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir='' dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --workdir=?*) workdir=${1#*=} ;;
    --dry-run) dry_run=true ;;
    --) shift; break ;;
    *) echo "error: unknown option $1: use --workdir=, --dry-run, or -- before evaluation options" >&2; exit 1 ;;
  esac
  shift
done
if [ -z "$workdir" ]; then
  echo "error: no --workdir=: give that of the training" >&2
  exit 1
fi

run() {
  printf '+'; printf ' %q' "$@"; echo
  $dry_run || "$@"
}

$dry_run || source launch/environment.sh
run python -m lens_jax.linear_eval --checkpoint="$workdir" --follow "$@"
