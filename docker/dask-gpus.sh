#!/bin/sh
# One Dask worker for each GPU that this container sees, pinned to it. When one ends, all end, and the
# container is started again: a machine never works on with fewer GPUs than it says.
#
#   dask-gpus.sh tcp://dask-scheduler:8786
set -eu
scheduler=$1
gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader)
for gpu in $gpus; do
    CUDA_VISIBLE_DEVICES=$gpu dask worker "$scheduler" \
        --name "$(hostname)-gpu$gpu" --nthreads 1 --resources GPU=1 --no-dashboard &
    workers="${workers-} $!"
done
trap 'kill $workers 2>/dev/null || true; wait; exit 0' TERM INT
while sleep 1; do
    for worker in $workers; do
        kill -0 "$worker" 2>/dev/null || { kill $workers 2>/dev/null || true; wait; exit 1; }
    done
done
