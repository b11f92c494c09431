#!/usr/bin/env bash
# Trains in a Kubernetes cluster, one process for each node with all of its GPUs or TPU chips:
#   bash launch/gke_job.sh --name=NAME --image=IMAGE --nodes=N --workdir=gs://BUCKET/run \
#     [--config=configs/rotation.py] [--resource=nvidia.com/gpu] [--per-node=8] [--select=LABEL=VALUE]... \
#     [--dry-run] [-- TRAINING OPTIONS]
# IMAGE has this package installed with its extra gpu or tpu, and the configs in its working directory;
# launch/Dockerfile makes one.
# launch/gke_job.yaml is what runs. Where a process is preempted, all of them start again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name='' image='' nodes='' workdir='' config=configs/rotation.py resource=nvidia.com/gpu per_node=8
select=() dry_run=false
while [ $# -gt 0 ]; do
  case $1 in
    --name=?*) name=${1#*=} ;;
    --image=?*) image=${1#*=} ;;
    --nodes=[1-9]*) nodes=${1#*=} ;;
    --workdir=?*) workdir=${1#*=} ;;
    --config=?*) config=${1#*=} ;;
    --resource=?*) resource=${1#*=} ;;
    --per-node=[1-9]*) per_node=${1#*=} ;;
    --select=?*=?*) select+=("${1#*=}") ;;
    --dry-run) dry_run=true ;;
    --) shift; break ;;
    *) echo "error: unknown option $1: use --name=, --image=, --nodes=, --workdir=, --config=, --resource=, --per-node=, --select=LABEL=VALUE, --dry-run, or -- before training options" >&2; exit 1 ;;
  esac
  shift
done
for option in name image nodes workdir; do
  if [ -z "${!option}" ]; then
    echo "error: no --$option=: --name=, --image=, --nodes= and --workdir= are needed" >&2
    exit 1
  fi
done

# Arguments: name, image, nodes, resource, how many of it, number of labels, the labels, the command.
manifest() {
  python3 -c '
import json, string, sys
name, image, nodes, resource, per_node, labels, *words = sys.argv[1:]
selector, command = words[: int(labels)], words[int(labels) :]
values = {
    "name": name,
    "image": image,
    "nodes": int(nodes),
    "processes": nodes,
    "coordinator": f"{name}-0.{name}:8476",
    "limits": {resource: per_node},
    "selector": dict(label.split("=", 1) for label in selector),
    "command": command,
}
template = string.Template(open("launch/gke_job.yaml").read())
print(template.substitute({key: json.dumps(value) for key, value in values.items()}), end="")
' "$@"
}

filled=$(manifest "$name" "$image" "$nodes" "$resource" "$per_node" "${#select[@]}" "${select[@]}" \
  python -m lens_jax.main --config="$config" --workdir="$workdir" "$@")
echo '+ kubectl apply --filename=-'
if $dry_run; then echo "$filled"; else kubectl apply --filename=- <<<"$filled"; fi
