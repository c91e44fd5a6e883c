"""On a GPU the results are those of the CPU: run by check.sh, for other machines can tell nothing.

CAF_VIDEO_DEVICE=cpu compares the CPU with itself, which shows that the checks themselves work.
"""

import os
from pathlib import Path

import pytest
import torch

from caf_video.attention import explain_clip
from caf_video.models.backbones import load_backbone
from caf_video.models.preprocessing import IMAGENET, Preprocessing
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline.train import compose_config, train

DEVICE = os.environ.get("CAF_VIDEO_DEVICE", "cuda")
# Largest relative difference of feature maps: TF32 has 10 bits of a product's factors, bfloat16 7.
TOLERANCES = {"float32": 5e-3, "bfloat16": 8e-2}


@pytest.mark.parametrize("filters", ["per-frame", "joint"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_attention_through_a_recurrent_network_in_eval_mode(cell, filters, generator) -> None:
    # cuDNN's recurrence refuses gradients in eval mode.
    model = RecurrentEmbedder(
        in_channels=32, grid=(8, 14), channels=16, hidden=32, embedding_dim=32, cell=cell
    )
    model.eval()
    maps = torch.rand(2, 3, 32, 8, 14, generator=generator)
    wanted = explain_clip(model, maps, filters=filters)
    found = explain_clip(model.to(DEVICE), maps.to(DEVICE), filters=filters)
    torch.testing.assert_close(found.outputs.cpu(), wanted.outputs, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(found.losses.cpu(), wanted.losses, rtol=1e-2, atol=1e-4)
    alike = torch.cosine_similarity(
        found.filters.cpu().flatten(2).abs(), wanted.filters.flatten(2).abs(), dim=2
    )
    assert alike.min() > 0.99


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0"])
def test_feature_maps_in_both_precisions(name, precision, generator) -> None:
    def loaded(precision: str) -> torch.nn.Module:
        torch.manual_seed(0)
        return load_backbone(name, weights="none", precision=precision)

    images = torch.randn(4, 3, 96, 128, generator=generator)
    with torch.no_grad():
        wanted = loaded("float32").features(images)
        found = loaded(precision).to(DEVICE).features(images.to(DEVICE)).cpu()
    assert found.dtype == torch.float32
    assert (found - wanted).norm() / wanted.norm() < TOLERANCES[precision]


def test_frames_that_come_as_bytes_are_normalised_to_the_digit_as_on_the_cpu(generator) -> None:
    preprocessing = Preprocessing((64, 96), IMAGENET)
    images = torch.randint(0, 256, (5, 3, 64, 96), generator=generator, dtype=torch.uint8)
    found = preprocessing.finish(images.to(DEVICE))
    assert found.device.type == torch.device(DEVICE).type
    assert torch.equal(found.cpu(), preprocessing.finish(images))


@pytest.mark.filterwarnings("ignore")  # Lightning's and NCCL's, on numbers of devices and workers
def test_a_training_in_a_group_of_one_process_ends_as_on_the_cpu(store_folder, tmp_path) -> None:
    def trained(run: Path, *choices: str) -> dict[str, torch.Tensor]:
        overrides = [
            f"features={store_folder}", f"run_dir={run}", "progress_bar=false", "model.channels=8",
            "trainer.precision=64-true", "trainer.max_epochs=2", "data.batches_per_epoch=5",
            "data.classes_per_batch=3", "data.samples_per_class=3", *choices,
        ]  # fmt: skip
        train(compose_config(overrides))
        return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    wanted = trained(tmp_path / "cpu", "trainer.accelerator=cpu")
    accelerator = "gpu" if DEVICE == "cuda" else DEVICE
    found = trained(
        tmp_path / "device", f"trainer.accelerator={accelerator}", "trainer.strategy=ddp"
    )
    backend = torch.distributed.get_backend()
    torch.distributed.destroy_process_group()
    assert backend == ("nccl" if DEVICE == "cuda" else "gloo")
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].cpu(), value, rtol=0, atol=1e-6)
