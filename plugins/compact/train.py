"""Trains `compact` for one scale, from Debian's packages to weights: `train.py --scale 4 --work FOLDER`.

Downloads what `photos.csv` names (`apt-get download`, then `dpkg -x`; nothing is installed), trains from a seed, and
writes `compact-x4.safetensors` into the folder. Killed at any moment, the same command goes on where its last
checkpoint was, and ends at the same weights: the patches of a step hang on the seed and the step alone. `--steps` may
be changed until the learning rate begins to fall, without any difference to a run that had it from the start.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from srcache.images import Pixels, from_tensor, resize, to_batch

from .network import CompactNet

PHOTOS = Path(__file__).with_name("photos.csv")
LEVELS = {1: 0.2, 2: 0.35, 3: 0.25, 4: 0.2}
"""How much a photo is reduced (Lanczos) before it serves as HR, and how often."""

WARMUP = 200
FALL = 0.3
"""The learning rate rises over WARMUP steps, stays, and falls to zero over the last FALL of all steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What decides the weights, and where to work."""

    scale: int
    work: Path
    steps: int
    seed: int = 1
    batch: int = 16
    patch: int = 32
    rate: float = 1e-3
    device: str = "cpu"
    threads: int = 1
    watch: int = 250

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept: tensors of the network, its average and the optimizer; JSON beside them."""
        return self.work / f"checkpoint-x{self.scale}.safetensors"

    @property
    def weights(self) -> Path:
        """What the run ends with."""
        return self.work / f"compact-x{self.scale}.safetensors"

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        fall = int(self.steps * FALL)
        return self.rate * min(1.0, (step + 1) / WARMUP, (self.steps - step) / fall)


@dataclass(slots=True)
class Run:
    """A run in memory."""

    network: CompactNet
    optimizer: torch.optim.Adam
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0


def photos(work: Path, split: str) -> Iterator[tuple[str, Pixels]]:
    """Name and pixels of each photo of a split; packages are fetched and unpacked if they are not there."""
    with PHOTOS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    for row in rows:
        with Image.open(_unpacked(work, row["package"]) / row["path"]) as image:
            yield _name(row["path"]), np.asarray(image.convert("RGB"))


def reduced(rgb: Pixels, level: int, scale: int) -> Pixels:
    """A photo at 1/level of its size (Lanczos), cut at the right and below to a multiple of the scale."""
    height, width = (side // level for side in rgb.shape[:2])
    small = resize(rgb, (height, width), "lanczos")
    return np.ascontiguousarray(small[: height // scale * scale, : width // scale * scale])


def shrunk(hr: Pixels, scale: int) -> Pixels:
    """The LR of an HR whose sides the scale divides: Pillow's bicubic on 8 bits."""
    return resize(hr, (hr.shape[0] // scale, hr.shape[1] // scale), "bicubic")


class Patches:
    """Pairs of LR and HR patches, the busier of three draws each, turned, mirrored and with channels exchanged."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pairs: dict[int, list[tuple[Pixels, Pixels]]] = {level: [] for level in LEVELS}
        for _, rgb in photos(plan.work, "train"):
            for level, pairs in self._pairs.items():
                hr = reduced(rgb, level, plan.scale)
                pairs.append((shrunk(hr, plan.scale), hr))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """LR (N, 3, patch, patch) and HR, float32 in [0, 1]; always the same for a step."""
        dice = np.random.default_rng((self._plan.seed, step))
        pairs = [self._pair(dice) for _ in range(self._plan.batch)]
        return to_batch([lr for lr, _ in pairs]), to_batch([hr for _, hr in pairs])

    def _pair(self, dice: np.random.Generator) -> tuple[Pixels, Pixels]:
        size, scale = self._plan.patch, self._plan.scale
        pairs = self._pairs[int(dice.choice(list(LEVELS), p=list(LEVELS.values())))]
        lr, hr = pairs[int(dice.integers(len(pairs)))]
        tops = dice.integers(lr.shape[0] - size + 1, size=3)
        lefts = dice.integers(lr.shape[1] - size + 1, size=3)
        draws = list(zip(tops, lefts, strict=True))
        top, left = draws[int(np.argmax([_cut(lr, *draw, size, 1).std((0, 1)).sum() for draw in draws]))]
        turns, mirror, order = int(dice.integers(4)), int(dice.integers(2)), dice.permutation(3)
        small, large = (
            np.rot90(cut[:, ::-1] if mirror else cut, turns)[..., order]
            for cut in (_cut(lr, top, left, size, 1), _cut(hr, top, left, size, scale))
        )
        return small, large


def train(plan: Plan) -> None:
    """The whole run."""
    torch.set_num_threads(plan.threads)
    run = _resumed(plan)
    patches, probes = Patches(plan), list(_probes(plan))
    _say(f"x{plan.scale}: {sum(p.numel() for p in run.network.parameters())} parameters, step {run.step}/{plan.steps}")
    started, first, losses = time.monotonic(), run.step, list[float]()
    while run.step < plan.steps:
        losses.append(_step(plan, run, *patches.batch(run.step)))
        if run.step % plan.watch == 0 or run.step == plan.steps:
            _save(plan, run)
            pace = (time.monotonic() - started) / (run.step - first)
            _say(
                f"x{plan.scale} step {run.step}/{plan.steps} loss {fmean(losses):.5f} gain over bicubic "
                f"{_gain(plan, run, probes):+.3f} dB, {pace * 1000:.0f} ms a step, "
                f"{(plan.steps - run.step) * pace / 60:.1f} min left"
            )
            losses.clear()
    half = {name: tensor.half().cpu().contiguous() for name, tensor in run.average.items()}
    save_file(half, plan.weights, metadata={"scale": str(plan.scale), "seed": str(plan.seed), "steps": str(plan.steps)})


def _step(plan: Plan, run: Run, lr: Tensor, hr: Tensor) -> float:
    """One update; the loss is Charbonnier's."""
    for group in run.optimizer.param_groups:
        group["lr"] = plan.rate_at(run.step)
    lr = lr.to(plan.device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(plan.device.partition(":")[0], torch.bfloat16):
        output = run.network(lr)
    loss = torch.sqrt((output - hr.to(plan.device)).square() + 1e-6).mean()
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 0.5)
    run.optimizer.step()
    run.step += 1
    keep = min(0.999, run.step / (run.step + 10))
    for name, tensor in run.network.state_dict().items():
        run.average[name].lerp_(tensor, 1 - keep)
    return float(loss.detach())


def _resumed(plan: Plan) -> Run:
    torch.manual_seed(plan.seed)
    network = CompactNet(plan.scale).to(plan.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.rate, betas=(0.9, 0.99))
    run = Run(network, optimizer, {name: tensor.clone() for name, tensor in network.state_dict().items()})
    if not plan.checkpoint.exists():
        return run
    tensors = load_file(plan.checkpoint, device=plan.device)
    with safe_open(plan.checkpoint, "pt") as file:
        run.step = json.loads(file.metadata()["run"])["step"]
    network.load_state_dict(_under("network.", tensors))
    run.average = _under("average.", tensors)
    names = [name for name, _ in network.named_parameters()]
    state = {
        place: {part: tensors[f"{part}.{name}"] for part in ("step", "exp_avg", "exp_avg_sq")}
        for place, name in enumerate(names)
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return run


def _save(plan: Plan, run: Run) -> None:
    """One file, renamed into place, so that a kill leaves the old checkpoint or the new one."""
    tensors = {f"network.{name}": tensor for name, tensor in run.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in run.average.items()}
    for name, parameter in run.network.named_parameters():
        tensors |= {f"{part}.{name}": tensor for part, tensor in run.optimizer.state[parameter].items()}
    new = plan.checkpoint.with_suffix(".new")
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, new, {"run": json.dumps({"step": run.step})}
    )
    new.replace(plan.checkpoint)


def _probes(plan: Plan) -> Iterator[tuple[Tensor, Pixels, float]]:
    """The middle 384×384 of each held-out photo at half size: LR, HR, and the PSNR of Pillow's bicubic."""
    for _, rgb in photos(plan.work, "held-out"):
        small = reduced(rgb, 2, plan.scale)
        top, left = (max(0, side - 384) // 2 for side in small.shape[:2])
        hr = np.ascontiguousarray(small[top : top + 384, left : left + 384])
        lr = shrunk(hr, plan.scale)
        size = hr.shape[0], hr.shape[1]
        yield to_batch([lr]).to(plan.device), hr, _psnr(resize(lr, size, "bicubic"), hr, plan.scale)


def _gain(plan: Plan, run: Run, probes: list[tuple[Tensor, Pixels, float]]) -> float:
    """The averaged network's mean gain in dB; for watching only, nothing is chosen by it."""
    network = CompactNet(plan.scale).to(plan.device).to(memory_format=torch.channels_last)
    network.load_state_dict(run.average)
    with torch.inference_mode():
        gains = [_psnr(from_tensor(network(lr)[0]), hr, plan.scale) - base for lr, hr, base in probes]
    return sum(gains) / len(gains)


def _psnr(picture: Pixels, reference: Pixels, border: int) -> float:
    left, right = (_luma(rgb[border:-border, border:-border]) for rgb in (picture, reference))
    return 10 * math.log10(255**2 / float(np.square(left - right).mean()))


def _luma(rgb: Pixels) -> NDArray[np.float64]:
    """Y of BT.601 in limited range, rounded as an 8-bit file would hold it."""
    luma: NDArray[np.float64] = np.rint(rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16)
    return luma


def _unpacked(work: Path, package: str) -> Path:
    folder = work / package
    if not folder.exists():
        subprocess.run(["apt-get", "download", package], cwd=work, check=True)
        (archive,) = work.glob(f"{package}_*.deb")
        new = work / f"{package}.new"
        subprocess.run(["dpkg", "-x", str(archive), str(new)], check=True)
        new.replace(folder)
    return folder


def _name(path: str) -> str:
    """A photo's short name: its file's, or, where that is a size, its folder's."""
    parts = Path(path).parts
    return parts[-4] if parts[-2] == "images" else Path(path).stem


def _cut(rgb: Pixels, top: int, left: int, size: int, scale: int) -> Pixels:
    return rgb[top * scale : (top + size) * scale, left * scale : (left + size) * scale]


def _under(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _plan() -> Plan:
    parser = argparse.ArgumentParser(description="Train the network of srcache's engine `compact`.")
    parser.add_argument("--scale", type=int, choices=(2, 4), required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages, checkpoint and weights")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    return Plan(**vars(given))


if __name__ == "__main__":
    train(_plan())
