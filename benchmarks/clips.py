"""The recurrent embedder of Fig. 8: filters for frames and for clips, against the paper's loop."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from benchmarks.bench import Bench, Contender, ratios
from benchmarks.networks import frozen, make_maps, scale_outputs
from benchmarks.peers import Descent, batched_adam_contender, converged_adam, paper_adam
from benchmarks.report import at_least, at_most
from caf_video import explain_clip
from caf_video.attention.objectives import SquaredDistance
from caf_video.attention.recurrent_tail import RecurrentTail
from caf_video.models.recurrent import RecurrentEmbedder

CLIPS = (16, 64)
FRAMES = 3
CHANNELS, GRID = 2048, (7, 7)  # of ResNet-50's last map
OVER_PAPER = {"flatten": at_least(500, "×"), "average": at_least(250, "×")}
JOINT_OVER_PER_FRAME = at_most(2)  # one filter for the clip against one for every frame
PAPER_LOSSES = 3  # problems whose loss by the paper's loop is compared as well


class HeadOnly(nn.Module):
    """A clip model that is given A itself, so that only the solver is timed."""

    def __init__(self, model: RecurrentEmbedder) -> None:
        super().__init__()
        self.pooling, self.lstm, self.projection = model.pooling, model.lstm, model.projection
        self.head = model.head

    def features(self, maps: Tensor) -> Tensor:
        return maps


def recurrent(bench: Bench, case: str, *, pooling: str) -> None:
    """Both sizes and all contenders in the same turns."""
    model, maps = _setting(bench, pooling)
    head_only = HeadOnly(model)
    contenders, adam, problems = [], {}, {}
    for clips in CLIPS:
        part = maps[:clips]
        losses_of = _losses_on_tail(model, part)
        generator = torch.Generator().manual_seed(0)
        start = torch.rand(clips * FRAMES, *GRID, generator=generator).to(maps)
        batched, adam[clips] = batched_adam_contender(
            f"batched Adam on the same tail, {clips} clips", losses_of, start
        )
        bench.tick(case)
        contenders += [
            Contender(f"explain_clip, {clips} clips", lambda _, a=part: explain_clip(head_only, a)),
            Contender(
                f"explain_clip, joint, {clips} clips",
                lambda _, a=part: explain_clip(head_only, a, filters="joint"),
            ),
            batched,
        ]
        problems[clips] = clips * FRAMES
    contenders.append(
        Contender("the paper's loop, one frame", lambda r: _paper(model, maps, r % len(maps), r))
    )
    seconds = bench.time(case, contenders)
    for clips in CLIPS:
        name = f"{case}, {clips} clips × {FRAMES} frames"
        ours = [s / problems[clips] for s in seconds[f"explain_clip, {clips} clips"]]
        batched_each = [
            s / problems[clips] for s in seconds[f"batched Adam on the same tail, {clips} clips"]
        ]
        bench.row(
            name,
            "per problem, over the paper's sequential loop",
            ratios(seconds["the paper's loop, one frame"], ours),
            OVER_PAPER[pooling],
            unit="×",
            note="the loop timed on a frame a repeat",
        )
        bench.row(
            name,
            "over batched Adam on the same tail",
            ratios(batched_each, ours),
            at_least(6, "×"),
            unit="×",
            note=f"{int(adam[clips].steps.max())} iterations",
        )
        joint = explain_clip(head_only, maps[:clips], filters="joint")
        bench.row(
            name,
            "one filter a clip / one a frame, per clip",
            ratios(
                seconds[f"explain_clip, joint, {clips} clips"],
                seconds[f"explain_clip, {clips} clips"],
            ),
            JOINT_OVER_PER_FRAME,
            note=f"{joint.steps.double().mean():.1f} evaluations a clip",
        )
        found = explain_clip(head_only, maps[:clips]).losses.T.flatten()  # by frame, then clip
        best = adam[clips].losses
        if clips == CLIPS[0]:
            generator = torch.Generator().manual_seed(1)
            start = torch.rand(clips * FRAMES, *GRID, generator=generator).to(maps)
            converged = converged_adam(_losses_on_tail(model, maps[:clips]), start)
            best = torch.minimum(best, converged.losses)
            by_paper = [
                (found[i] - _paper(model, maps[:clips], i % clips, i // clips).losses.to(found))
                .max()
                .item()
                for i in range(PAPER_LOSSES)
            ]
            bench.row(
                name, "loss above that of the paper's loop", by_paper, at_most(1e-5), worst=True
            )
        bench.row(
            name,
            "loss above the best of Adam",
            (found - best).tolist(),
            at_most(1e-5),
            worst=True,
            note=f"losses to {found.max().item():.2g}",
        )
        bench.tick(case)
    few, many = (
        [s / problems[clips] for s in seconds[f"explain_clip, {clips} clips"]] for clips in CLIPS
    )
    bench.row(
        case,
        f"time per problem, {problems[CLIPS[1]]} / {problems[CLIPS[0]]} problems",
        ratios(many, few),
        at_most(1.2),
    )


def _setting(bench: Bench, pooling: str) -> tuple[RecurrentEmbedder, Tensor]:
    """The network with random weights and embeddings of unit norm, and A of all clips."""
    torch.manual_seed(0)
    model = RecurrentEmbedder(in_channels=CHANNELS, grid=GRID, pooling=pooling)
    stored = make_maps(CLIPS[-1], FRAMES, CHANNELS, *GRID, seed=3, device=bench.device)
    by_channel = stored.movedim(2, 0).flatten(1)
    model.to(bench.device).fit_standardization(by_channel.mean(dim=1), by_channel.std(dim=1))
    frozen(model, bench.device)
    scale_outputs(model.projection, model(stored[:8]).norm(dim=1).mean())
    return model, model.features(stored).contiguous()


def _losses_on_tail(model: RecurrentEmbedder, maps: Tensor) -> Callable[[Tensor], Tensor]:
    tail = RecurrentTail(model, maps)
    objective = SquaredDistance(tail.embeddings.repeat(FRAMES, 1))
    return lambda filters: objective.losses(tail(filters)) * objective.unit


def _paper(model: RecurrentEmbedder, maps: Tensor, clip: int, repeat: int) -> Descent:
    """One frame of one clip through the whole head, the clip's other frames as they are."""
    frame = repeat % FRAMES
    before, after = maps[clip : clip + 1, :frame], maps[clip : clip + 1, frame + 1 :]

    def head(frame_map: Tensor) -> Tensor:
        return model.head(torch.cat([before, frame_map[:, None], after], dim=1))

    on_gpu = maps.device.type == "cuda"  # where cuDNN refuses RNN backward in eval mode
    with torch.backends.cudnn.flags(enabled=False) if on_gpu else nullcontext():
        return paper_adam(head, maps[clip, frame][None], seed=repeat)
