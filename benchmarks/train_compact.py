"""Trains `compact` for one scale: `python -m benchmarks.train_compact --scale 4 --work FOLDER`.

Downloads the Debian packages that `plugins/compact/photos.csv` names (`apt-get download`, then `dpkg -x`; nothing is
installed), trains from a seed, and writes `compact-x4.safetensors` into the folder. If it is killed, the same command
goes on from its last checkpoint and ends with the same weights: the patches of a step depend only on the seed and the
step. `--steps` may be changed until the learning rate begins to fall, without any difference to a run that had it from
the start.
"""

import argparse
import csv
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save
from srcache_plugins.compact.network import CompactNet
from torch import Tensor

from srcache.files import write_atomic
from srcache.images import Pixels, from_tensor, resize, to_batch
from srcache.study.quality.psnr_ssim import Convention, measure_image

PHOTOS = files("srcache_plugins.compact") / "photos.csv"
"""The photographs: package, version, path, licence, author, split."""

LEVELS = {1: 0.2, 2: 0.35, 3: 0.25, 4: 0.2}
"""By how much a photo is reduced (Lanczos) before it serves as HR → how often."""

WARMUP = 200
FALL = 0.3
"""The learning rate rises over WARMUP steps, stays, and falls to zero over the last FALL of all steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactTraining:
    """The settings of a training: what decides the weights, and where to work.

    Attributes:
        scale: 2 or 4.
        work: a folder for packages, checkpoint and weights.
        steps: updates of the weights.
        seed: of all random choices.
        batch: patches per step.
        patch: side of a patch in LR pixels.
        rate: the highest learning rate.
        device: a device as torch names it.
        threads: of the CPU.
        watch: steps between two checkpoints, with a line of progress each.
    """

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
        """The file that the state is kept in: tensors of network, average and optimizer, and the number of the step."""
        return self.work / f"checkpoint-x{self.scale}.safetensors"

    @property
    def weights(self) -> Path:
        """The file that the training ends with."""
        return self.work / f"compact-x{self.scale}.safetensors"

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        fall = int(self.steps * FALL)
        return self.rate * min(1.0, (step + 1) / WARMUP, (self.steps - step) / fall)


@dataclass(slots=True)
class TrainingState:
    """A training in memory: the network, its optimizer, the running average of its tensors, and the steps done."""

    network: CompactNet
    optimizer: torch.optim.Adam
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0


def photos(work: Path, split: str) -> Iterator[tuple[str, Pixels]]:
    """Name and pixels of each photo of a split; packages are fetched and unpacked if they are not there."""
    table = csv.DictReader(PHOTOS.read_text(encoding="utf-8").splitlines())
    rows = [row for row in table if row["split"] == split]
    for row in rows:
        with Image.open(_unpack(work, row["package"]) / row["path"]) as image:
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
    """Pairs of LR and HR patches: the busiest of three random places, then turned, mirrored, its channels exchanged."""

    def __init__(self, settings: CompactTraining) -> None:
        self._settings = settings
        self._pairs: dict[int, list[tuple[Pixels, Pixels]]] = {level: [] for level in LEVELS}
        for _, rgb in photos(settings.work, "train"):
            for level, pairs in self._pairs.items():
                hr = reduced(rgb, level, settings.scale)
                pairs.append((shrunk(hr, settings.scale), hr))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """LR (N, 3, patch, patch) and HR, float32 in [0, 1]; always the same for a step."""
        rng = np.random.default_rng((self._settings.seed, step))
        pairs = [self._pair(rng) for _ in range(self._settings.batch)]
        return to_batch([lr for lr, _ in pairs]), to_batch([hr for _, hr in pairs])

    def _pair(self, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        size, scale = self._settings.patch, self._settings.scale
        pairs = self._pairs[int(rng.choice(list(LEVELS), p=list(LEVELS.values())))]
        lr, hr = pairs[int(rng.integers(len(pairs)))]
        tops = rng.integers(lr.shape[0] - size + 1, size=3)
        lefts = rng.integers(lr.shape[1] - size + 1, size=3)
        draws = list(zip(tops, lefts, strict=True))
        top, left = draws[int(np.argmax([_cut(lr, *draw, size, 1).std((0, 1)).sum() for draw in draws]))]
        turns, mirror, order = int(rng.integers(4)), int(rng.integers(2)), rng.permutation(3)
        small, large = (
            np.rot90(cut[:, ::-1] if mirror else cut, turns)[..., order]
            for cut in (_cut(lr, top, left, size, 1), _cut(hr, top, left, size, scale))
        )
        return small, large


def train(settings: CompactTraining) -> None:
    """Train to the last step, with a checkpoint every `watch` steps, and write the weights."""
    torch.set_num_threads(settings.threads)
    training = _start_or_resume(settings)
    patches, held_out = Patches(settings), list(_held_out(settings))
    count = sum(parameter.numel() for parameter in training.network.parameters())
    print(f"x{settings.scale}: {count} parameters, step {training.step}/{settings.steps}", flush=True)
    started, first, losses = time.monotonic(), training.step, list[float]()
    while training.step < settings.steps:
        losses.append(_update(settings, training, *patches.batch(training.step)))
        if training.step % settings.watch == 0 or training.step == settings.steps:
            _save(settings, training)
            pace = (time.monotonic() - started) / (training.step - first)
            print(
                f"x{settings.scale} step {training.step}/{settings.steps} loss {fmean(losses):.5f} gain over bicubic "
                f"{_gain(settings, training, held_out):+.3f} dB, {pace * 1000:.0f} ms a step, "
                f"{(settings.steps - training.step) * pace / 60:.1f} min left",
                flush=True,
            )
            losses.clear()
    half = {name: tensor.half().cpu().contiguous() for name, tensor in training.average.items()}
    notes = {name: str(getattr(settings, name)) for name in ("scale", "seed", "steps")}
    write_atomic(settings.weights, save(half, notes))


def _update(settings: CompactTraining, training: TrainingState, lr: Tensor, hr: Tensor) -> float:
    """One step of the optimizer, on a batch; returns the loss (Charbonnier's)."""
    for group in training.optimizer.param_groups:
        group["lr"] = settings.rate_at(training.step)
    lr = lr.to(settings.device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(settings.device.partition(":")[0], torch.bfloat16):
        output = training.network(lr)
    loss = torch.sqrt((output - hr.to(settings.device)).square() + 1e-6).mean()
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), 0.5)
    training.optimizer.step()
    training.step += 1
    keep = min(0.999, training.step / (training.step + 10))
    for name, tensor in training.network.state_dict().items():
        training.average[name].lerp_(tensor, 1 - keep)
    return float(loss.detach())


def _start_or_resume(settings: CompactTraining) -> TrainingState:
    torch.manual_seed(settings.seed)
    network = CompactNet(settings.scale).to(settings.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate, betas=(0.9, 0.99))
    training = TrainingState(
        network, optimizer, {name: tensor.clone() for name, tensor in network.state_dict().items()}
    )
    if not settings.checkpoint.exists():
        return training
    tensors = load_file(settings.checkpoint, device=settings.device)
    with safe_open(settings.checkpoint, "pt") as file:
        training.step = int(json.loads(file.metadata()["run"])["step"])
    network.load_state_dict(_with_prefix("network.", tensors))
    training.average = _with_prefix("average.", tensors)
    names = [name for name, _ in network.named_parameters()]
    state = {
        place: {part: tensors[f"{part}.{name}"] for part in ("step", "exp_avg", "exp_avg_sq")}
        for place, name in enumerate(names)
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return training


def _save(settings: CompactTraining, training: TrainingState) -> None:
    """Write one file, atomically, so that a kill leaves the old checkpoint or the new one."""
    tensors = {f"network.{name}": tensor for name, tensor in training.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in training.average.items()}
    for name, parameter in training.network.named_parameters():
        tensors |= {f"{part}.{name}": tensor for part, tensor in training.optimizer.state[parameter].items()}
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(settings.checkpoint, save(plain, {"run": json.dumps({"step": training.step})}))


def _held_out(settings: CompactTraining) -> Iterator[tuple[Tensor, Pixels, float]]:
    """The middle 384×384 of each held-out photo at half size: LR, HR, and the PSNR of Pillow's bicubic."""
    for _, rgb in photos(settings.work, "held-out"):
        small = reduced(rgb, 2, settings.scale)
        top, left = (max(0, side - 384) // 2 for side in small.shape[:2])
        hr = np.ascontiguousarray(small[top : top + 384, left : left + 384])
        lr = shrunk(hr, settings.scale)
        size = hr.shape[0], hr.shape[1]
        yield to_batch([lr]).to(settings.device), hr, _psnr(resize(lr, size, "bicubic"), hr, settings.scale)


def _gain(settings: CompactTraining, training: TrainingState, held_out: list[tuple[Tensor, Pixels, float]]) -> float:
    """The averaged network's mean gain over bicubic in dB; to watch the training only, nothing is chosen by it."""
    network = CompactNet(settings.scale).to(settings.device).to(memory_format=torch.channels_last)
    network.load_state_dict(training.average)
    with torch.inference_mode():
        gains = [_psnr(from_tensor(network(lr)[0]), hr, settings.scale) - base for lr, hr, base in held_out]
    return sum(gains) / len(gains)


def _psnr(image: Pixels, reference: Pixels, border: int) -> float:
    """PSNR in dB on Y, `border` pixels cropped."""
    return measure_image(image, reference, Convention(channel="y", crop_border=border)).psnr


def _unpack(work: Path, package: str) -> Path:
    """The folder that a Debian package is unpacked in; it is fetched first if it is not there."""
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


def _with_prefix(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, under the rest of their names."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _read_arguments() -> CompactTraining:
    parser = argparse.ArgumentParser(description="Train the network of srcache's engine `compact`.")
    parser.add_argument("--scale", type=int, choices=(2, 4), required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for packages, checkpoint and weights")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    return CompactTraining(**vars(given))


if __name__ == "__main__":
    train(_read_arguments())
