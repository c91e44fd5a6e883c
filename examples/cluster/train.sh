#!/bin/bash
# Training on two processes of one machine, by torchrun.
#
#   bash examples/cluster/train.sh features/mine runs/mine
#   bash examples/cluster/train.sh features/mine runs/mine ckpt_path=last    # goes on
set -euo pipefail
features=$1
run=$2
shift 2
exec torchrun --nproc-per-node 2 train/recurrent.py "features=$features" "run_dir=$run" \
  trainer.devices=2 trainer.strategy=ddp "$@"
