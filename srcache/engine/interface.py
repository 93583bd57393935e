"""The seam where an SR network plugs in: what it says about itself, and the one call that it must have.

An engine is a class named in the entry-point group `srcache.engines`. Its `info` can be read without loading torch or
weights; building it (with a `Setup`) loads them. Nothing registers itself by being imported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from srcache.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor

OptionValue = bool | int | float | str
"""What an option of an engine may be set to."""

_MOST = 1e300
"""The largest number, up or down, that an option may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting of an engine that can change a pixel.

    Attributes:
        default: its value where a recipe does not set it. Its type is the option's; a released default never changes.
        help: what it does, for lists.
        choices: the values that it may have; any of its type if there are none.
        late: whether a released engine did not have it yet. While it holds its default, a late option stays out of
            fingerprints, so that no cache is orphaned.
    """

    default: OptionValue
    help: str
    choices: tuple[OptionValue, ...] = ()
    late: bool = False

    def checked(self, name: str, value: Any) -> OptionValue:
        """`value` in this option's type (5 and 5.0 are the same).

        Raises:
            EngineError: another type, or none of the choices.
        """
        typed = _as_type_of(self.default, name, value)
        if self.choices and typed not in self.choices:
            choices = ", ".join(str(choice) for choice in self.choices)
            raise EngineError(f"option {name} must be one of {choices}, but is {typed!r}")
        return typed


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine says about itself before anything is loaded.

    Attributes:
        name: the engine's name, that of its entry point.
        summary: a line for lists.
        scales: the scales that it can do; None for any.
        numerics: a version number of its arithmetic, raised whenever its author changes what it computes.
        options: its settings, by name.
        precisions: what it can compute in: `fp32`, `bf16`, `fp16`.
        color_fixes: the names of its corrections of colour.
        tiles: whether it makes use of `Setup.tiling`.
        stochastic: whether its results depend on the seeds.
        pads: whether its results may depend on the batch's shape, so that a short batch must be filled up.
        pads_on_cpu: False if, on the CPU, they do not, because there the engine takes one image at a time.
        batch: its advice for images per call; see also `SREngine` on `batch_width`.
        weights: the SHA-256 over the files that it loads, if it has any of its own.
        loads: whether it runs a checkpoint that the recipe names instead (`Setup.weights`, a digest for
            `srcache.weights`).
        compiles: whether it makes use of `Setup.compiled`.
        devices: the kinds of device that it runs on, by torch's names.
        code_license, weights_licenses: the licences of its code, and of the weights that it loads.
    """

    name: str
    summary: str
    scales: tuple[int, ...] | None
    numerics: int = 1
    options: Mapping[str, Option] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32",)
    color_fixes: tuple[str, ...] = ()
    tiles: bool = False
    stochastic: bool = False
    pads: bool = True
    pads_on_cpu: bool = True
    batch: int = 16
    weights: str | None = None
    loads: bool = False
    compiles: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")
    code_license: str = "Apache-2.0"
    weights_licenses: tuple[str, ...] = ()

    def pads_on(self, device: str) -> bool:
        """Whether short batches must be filled up on a device, such as `cpu` or `cuda:1`."""
        return self.pads and (self.pads_on_cpu or not device.startswith("cpu"))

    def resolved(self, options: Mapping[str, Any]) -> dict[str, OptionValue]:
        """Every option of the engine, with the default where `options` does not name it.

        Raises:
            EngineError: unknown names, wrong types, or none of the choices.
        """
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            known = ", ".join(sorted(self.options)) or "none"
            raise EngineError(f"engine {self.name} has no option {', '.join(unknown)}; it has: {known}")
        return {
            name: option.checked(name, options.get(name, option.default))
            for name, option in sorted(self.options.items())
        }

    def settled(self, options: Mapping[str, Any]) -> dict[str, OptionValue]:
        """Like `resolved`, less the late options that hold their default: what a recipe keeps.

        Raises:
            EngineError: as `resolved`.
        """
        late = {name: option.default for name, option in self.options.items() if option.late}
        return {name: value for name, value in self.resolved(options).items() if late.get(name, ...) != value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How an image is cut into overlapping square tiles, in the engine's own unit (its info says which).

    Written `size/overlap`, such as `96/32`."""

    size: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise EngineError(
                f"a tile's overlap must be at least 0 and below its size {self.size}, but is {self.overlap}"
            )

    def __str__(self) -> str:
        return f"{self.size}/{self.overlap}"

    @classmethod
    def parse(cls, text: str) -> "Tiling":
        """Read `size/overlap`, such as `96/32`.

        Raises:
            EngineError: another form.
        """
        size, slash, overlap = text.partition("/")
        if not (slash and size.isdecimal() and overlap.isdecimal()):
            raise EngineError(f"tiling is written size/overlap, such as 96/32, but got {text!r}")
        return cls(size=int(size), overlap=int(overlap))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What an engine is built with: the part of a recipe that it needs to know, and where and how to run.

    Attributes:
        scale: output side / input side.
        options: settings by name; `open_engine` adds the defaults of those that are not named.
        precision: one of the engine's `precisions`.
        tiling: how to tile, or None; only for an engine whose info says `tiles`.
        color_fix: one of the engine's `color_fixes`, or None.
        weights: the digest of the checkpoint to run, for an engine whose info says `loads`.
        device: a device as torch names it.
        compiled: use `torch.compile`; only for an engine whose info says `compiles`. It pays only in long runs.
    """

    scale: float
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    precision: str = "fp32"
    tiling: Tiling | None = None
    color_fix: str | None = None
    weights: str | None = None
    device: str = "cpu"
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Upscaled:
    """The result for one image.

    Attributes:
        image: float tensor (3, H, W) in [0, 1].
        notes: for the entry's record; plain JSON values.
    """

    image: "Tensor"
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that the engine could not upscale.

    Attributes:
        reason: one word, for counting.
        detail: a sentence.
        tried: whether the engine was given this very image; if not, it had failed on others of a batch, and another
            run may try.
    """

    reason: str
    detail: str
    tried: bool = field(default=True, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A result whose last part is the host's work, and may be done in any thread while the device goes on.

    Attributes:
        finish: does it; called once.
    """

    finish: Callable[[], Upscaled | Failure]


class SREngine(Protocol):
    """An engine: low-resolution images in, high-resolution images out.

    An engine may also have methods that say how it is to be called. `predicted_memory(height, width, batch)`: the bytes
    of device memory that a call on `batch` images of this size takes at most, beside what the engine holds anyway;
    without it, a call is measured. `batch_width(height, width)`: how many images of this size just fill its device, so
    that a call on more is hardly faster for each; without it, as many as `info.batch`. Short batches are filled up to
    this width where bits depend on it (`pads`), so it must follow from size, setup and kind of device alone. And an
    engine may have an attribute `mode`: a few words for receipts on how it runs, if not simply eager or compiled.

    An engine may divide `upscale` in three, so that the host works beside the device: `prepare(images)` gives whatever
    `compute(prepared, seeds)` needs of them, which returns an `Unfinished` instead of an `Upscaled`. A service calls
    `prepare` in another thread while the batch before is computed, and `finish` in those that encode. Prepared,
    computed and finished, images are the same bits as from `upscale`.

    Its class may have static methods that concern weights: `weights_file()` finds and checks those of its own,
    `make_weights(name, folder)` writes those of a bundle, `check_weights(parts)` raises a WeightsError where a bundle's
    files are not what it expects, and `checkpoint_setup(digest)` says how it would run a converted checkpoint.
    """

    info: ClassVar[EngineInfo]

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Upscale a batch.

        Args:
            images: float32 tensor (N, 3, H, W), RGB, exactly uint8 / 255; on the CPU, whatever device the engine is on.
            seeds: N numbers below 2**64; noise for image i comes from seed i alone.

        Returns:
            One outcome per image, in order; an image's failure does not touch its batch mates.
        """
        ...


def upscaled_side(side: int, scale: float) -> int:
    """A side's length after scaling: rounded half up, at least 1."""
    return max(1, int(side * scale + 0.5))


def _as_type_of(default: OptionValue, name: str, value: Any) -> OptionValue:
    kind = type(default)
    if isinstance(value, int | float) and not abs(value) <= _MOST:
        raise EngineError(f"option {name} must be a finite number of at most {_MOST} in size")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not kind:
        raise EngineError(f"option {name} must be of type {kind.__name__}, but is {value!r}")
    checked: OptionValue = value
    return checked
