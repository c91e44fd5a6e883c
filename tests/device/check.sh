#!/bin/bash
# What only a machine with a GPU can tell, in under five minutes: tests/device/check.sh [PYTHON]
#
# Runs tests/device/check.py: recurrent attention in eval mode (cuDNN), feature maps in float32 and
# bfloat16, a training under nccl in one process, all against the CPU within the tolerances that
# stand there; then a case of the benchmarks on the device. Exits by it; skips where there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${1:-.venv/bin/python}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "skipped: torch sees no GPU here"
    exit 0
fi
export PYTHONPATH=$PWD CUBLAS_WORKSPACE_CONFIG=:4096:8
timeout 200 "$python" -m pytest -q -p no:cacheprovider tests/device/check.py
timeout 90 "$python" -m benchmarks --device cuda --repeats 3 --only "recurrent average" \
    --out "$(mktemp -d)"
