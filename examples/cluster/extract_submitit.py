"""The same by submitit (`pip install submitit`), which writes the job array itself.

python examples/cluster/extract_submitit.py clips.csv features/mine 8
python examples/cluster/extract_submitit.py clips.csv features/mine 2 local    # here, no Slurm
"""

import sys

import submitit


def main(manifest: str, features: str, shards: str, cluster: str = "slurm") -> None:
    executor = submitit.AutoExecutor(folder="submitit-logs", cluster=cluster)
    # Where there are GPUs: gpus_per_node=1
    executor.update_parameters(name="caf-extract", cpus_per_task=2, timeout_min=12 * 60)
    commands = [
        submitit.helpers.CommandFunction(
            ["caf-video", "extract", manifest, "--out", features, "--shard", f"{number}/{shards}"]
        )
        for number in range(1, int(shards) + 1)
    ]
    with executor.batch():
        jobs = [executor.submit(command) for command in commands]
    for job in jobs:
        print(job.result())


if __name__ == "__main__":
    main(*sys.argv[1:])
