"""The conformance suite passes good engines, and each of its checks catches its break."""

import itertools
from dataclasses import replace
from typing import ClassVar

import pytest
from engines import ENTRY_POINTS, Faulty, Noise, Shapes, enlarged

from srcache import conformance
from srcache.conformance import check_engine
from srcache.conformance.engine import ENGINE_CHECKS
from srcache.engine.interface import EngineInfo, Failure, Setup, Unfinished, Upscaled
from srcache.errors import ConfigError, ConformanceError, EngineError
from srcache.images import to_batch

SETUP = Setup(scale=2)
NAMES = {check.__name__.strip("_").replace("_", " ") for check in ENGINE_CHECKS}


def _broken(build, setup=SETUP, **settings):
    """The names of the checks that fail, and the complete message."""
    with pytest.raises(ConformanceError) as caught:
        check_engine(build, setup, **settings)
    lines = str(caught.value).split("\n  - ")
    return {line.partition(":")[0] for line in lines[1:]}, str(caught.value)


@pytest.fixture
def quick(monkeypatch):
    """Leave out the check that starts a process, where a test is about the others."""
    checks = tuple(check for check in ENGINE_CHECKS if check.__name__ != "_info_without_torch")
    monkeypatch.setattr(conformance, "ENGINE_CHECKS", checks)
    return NAMES - {"info without torch"}


@pytest.mark.medium
@pytest.mark.parametrize("name", ["resample", *ENTRY_POINTS])
def test_good_engines_pass_every_check(name):
    assert set(check_engine(name, SETUP)) == NAMES


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "setup"),
    [
        ("resample", Setup(scale=1.5, options={"filter": "lanczos"})),
        ("test-noise", Setup(scale=4, options={"strength": 0.5, "tint": "red", "invert": True})),
        ("test-faulty", Setup(scale=1)),
    ],
)
def test_good_engines_pass_with_other_setups(name, setup):
    assert set(check_engine(name, setup, batch=3, size=(9, 16))) == NAMES


@pytest.mark.medium
def test_a_failure_beside_others_is_checked_where_the_author_has_one(make_image):
    failing = to_batch([make_image(24, 32, mark="fails")])[0]
    assert set(check_engine("test-faulty", SETUP, failing=failing)) == {*NAMES, "failure stays alone"}
    broken, message = _broken("resample", failing=failing)
    assert broken == {"failure stays alone"}
    assert "expected a Failure for the failing image" in message


class Good:
    """Repeats pixels; the engines below break one thing each."""

    info: ClassVar = EngineInfo(name="good", summary="", scales=(2,), pads=False)

    def upscale(self, images, seeds):
        pairs = zip(images, seeds, strict=True)
        return [self.one(image, seed, place, images) for place, (image, seed) in enumerate(pairs)]

    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2))


class NoInfo(Good):
    info: ClassVar = None


class OneScale(Good):
    info: ClassVar = replace(Good.info, scales=(3, 4))


class NoBatch(Good):
    info: ClassVar = replace(Good.info, batch=0)


class TooFew(Good):
    def upscale(self, images, seeds):
        return super().upscale(images, seeds)[1:]


class NoList(Good):
    def upscale(self, images, seeds):
        return enlarged(images, 2)


class Shy(Good):
    def one(self, image, seed, place, images):
        return Failure("shy", "not today") if place == 1 else super().one(image, seed, place, images)


class Raises(Good):
    def upscale(self, images, seeds):
        raise RuntimeError("no kernel image is available")


class TooLarge(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 3))


class Half(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2).half())


class Graph(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2).requires_grad_())


class Infinite(Good):
    def one(self, image, seed, place, images):
        large = enlarged(image, 2)
        large[0, 0, 0] = float("inf")
        return Upscaled(large)


class Overshoots(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2) * 1.5 - 0.25)


class OddNotes(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2), {"mean": image.mean()})


class KeyedNotes(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2), {1: "number as a name"})


class Unseeded(Good):
    def one(self, image, seed, place, images):
        import torch

        return Upscaled(enlarged(image + 0.01 * torch.rand(1), 2).clamp(0, 1))


class Born(Good):
    """Starts from a random state: every engine built is another one."""

    births: ClassVar = itertools.count()

    def __init__(self):
        self._own = 0.001 * next(self.births)

    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2).clamp(0, 0.9) + self._own)


class Sorts(Good):
    def upscale(self, images, seeds):
        return sorted(super().upscale(images, seeds), key=lambda outcome: float(outcome.image.mean()))


class Mixes(Good):
    """Normalises over the batch."""

    def one(self, image, seed, place, images):
        return Upscaled((enlarged(image, 2) - images.mean() + 0.5).clamp(0, 1))


class Counts(Good):
    """Depends on the batch's size although its info says that it does not."""

    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2) * (1 - 0.01 * len(images)))


class Places(Good):
    """Draws noise for the batch at once, so that it depends on the place."""

    info: ClassVar = replace(Good.info, stochastic=True, pads=True)

    def one(self, image, seed, place, images):
        import torch

        noise = torch.rand((), generator=torch.Generator().manual_seed(seed))
        return Upscaled(enlarged(image, 2) * 0.5 + 0.1 * noise + 0.01 * place)


class SecretlyStochastic(Good):
    def one(self, image, seed, place, images):
        return Upscaled(enlarged(image, 2) * (0.5 + seed % 7 / 14))


class DeafToSeeds(Good):
    info: ClassVar = replace(Good.info, stochastic=True)


class EvenOnly(Good):
    def one(self, image, seed, place, images):
        if image.shape[-1] % 2 and image.shape[-1] > 1:
            raise ValueError("sides must be even")
        return super().one(image, seed, place, images)


class Thick(Good):
    def one(self, image, seed, place, images):
        return Failure("too_small", "") if min(image.shape[-2:]) < 8 else super().one(image, seed, place, images)


class Scribbles(Good):
    def upscale(self, images, seeds):
        outcomes = super().upscale(images, seeds)
        images.zero_()
        return outcomes


class EatsSeeds(Good):
    def upscale(self, images, seeds):
        outcomes = super().upscale(images, seeds)
        seeds.clear()
        return outcomes


class Divided(Good):
    """Does the host's part of the work apart, and all of it."""

    gain: ClassVar = 1.0

    def prepare(self, images):
        return images * self.gain

    def compute(self, prepared, seeds):
        return [Unfinished(lambda one=one: one) for one in self.upscale(prepared, seeds)]


class OtherParts(Divided):
    gain: ClassVar = 0.5


class LosesParts(Divided):
    def compute(self, prepared, seeds):
        return super().compute(prepared, seeds)[1:]


class HalfDivided(Good):
    def prepare(self, images):
        return images


class Reuses(Good):
    """Keeps one output buffer per shape, as captured graphs do."""

    def __init__(self):
        self._buffers = {}

    def upscale(self, images, seeds):
        large = enlarged(images, 2)
        buffer = self._buffers.setdefault(large.shape, large)
        buffer.copy_(large)
        return [Upscaled(image) for image in buffer]


def test_an_engine_in_parts_passes_every_check(quick):
    assert set(check_engine(Divided, SETUP)) == quick


BREAKS = {
    OneScale: {"info"},
    NoBatch: {"info"},
    OddNotes: {"notes"},
    KeyedNotes: {"notes"},
    Half: {"dtype"},
    Graph: {"dtype"},
    Overshoots: {"range"},
    TooLarge: {"shape", "odd sizes", "thin images"},
    OtherParts: {"parts"},
    LosesParts: {"parts"},
    HalfDivided: {"parts"},
    Born: {"rebuilding"},
    Sorts: {"order", "alone", "company"},
    Mixes: {"alone", "company"},
    Counts: {"alone"},
    Places: {"order", "alone", "position"},
    SecretlyStochastic: {"seeds"},
    DeafToSeeds: {"seeds"},
    EvenOnly: {"odd sizes", "thin images"},
    Thick: {"thin images"},
    Scribbles: {"untouched input"},
    EatsSeeds: {"untouched input"},
    Reuses: {"kept outputs"},
}


@pytest.mark.parametrize("build", BREAKS, ids=lambda build: build.__name__)
def test_a_break_is_caught_by_its_checks_and_by_no_other(quick, build):
    broken, message = _broken(build)
    assert broken == BREAKS[build]
    assert message.startswith(f"engine {build.__name__} breaks {len(broken)} of {len(quick)} promises:\n  - ")


@pytest.mark.parametrize(
    ("build", "checks"),
    [
        (NoInfo, {"info", "alone", "seeds"}),
        (TooFew, NAMES - {"info", "untouched input", "parts"}),
        (NoList, NAMES - {"info", "untouched input", "parts"}),
        (Shy, NAMES - {"info", "notes", "untouched input", "parts"}),
        (Raises, NAMES - {"info", "parts"}),
        (Infinite, {"finite", "range"}),
        (Unseeded, {"determinism", "rebuilding", "order", "alone", "company", "position", "seeds", "kept outputs"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_deep_break_fails_all_that_stands_on_it(quick, build, checks):
    broken, _ = _broken(build)
    assert broken == checks & quick


def test_every_check_has_a_break():
    assert set().union(*BREAKS.values()) | {"info without torch", "outcomes", "finite", "determinism"} == NAMES


def test_messages_say_what_was_expected_and_got(quick):
    _, message = _broken(TooLarge)
    assert "shape: expected outputs of shape (3, 48, 64) for images of 24×32, but got (3, 72, 96)" in message
    _, message = _broken(Raises)
    assert "outcomes: it raised RuntimeError('no kernel image is available')" in message
    _, message = _broken(TooFew)
    assert "outcomes: expected a list of 4 outcomes, one per image, but got 3 of them" in message
    _, message = _broken(NoList)
    assert "outcomes: expected a list of 4 outcomes, one per image, but got a Tensor" in message
    _, message = _broken(Shy)
    assert "but got Failure(reason='shy', detail='not today')" in message
    _, message = _broken(Counts)
    assert "image 0 came out otherwise alone (its info says pads=False) than among others (by up to 0.0" in message


def test_an_engine_that_needs_padding_must_say_so(quick, monkeypatch):
    monkeypatch.setattr(Shapes, "info", replace(Shapes.info, pads=False))
    broken, _ = _broken("test-shapes")
    assert broken == {"alone"}


def test_an_entry_point_and_its_info_must_agree_on_the_name(quick, monkeypatch):
    monkeypatch.setattr(Noise, "info", replace(Noise.info, name="noise"))
    broken, message = _broken("test-noise")
    assert broken == {"info"}
    assert "its entry point is named test-noise, but its info says noise" in message


@pytest.mark.medium
def test_an_engine_whose_module_imports_torch_is_caught(monkeypatch, tmp_path):
    source = "import torch\nfrom engines import Faulty\nclass Heavy(Faulty):\n    pass\n"
    (tmp_path / "heavy_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from heavy_plugin import Heavy

    setup = Setup(scale=2, options={"most": 0})
    broken, message = _broken(lambda: Heavy(setup), setup)
    assert broken == {"info without torch"}
    assert "in a new process: importing its class imports torch" in message


def test_an_engine_that_nobody_can_import_is_caught():
    class Local(Faulty):
        pass

    setup = Setup(scale=2, options={"most": 0})
    broken, message = _broken(lambda: Local(setup), setup)
    assert broken == {"info without torch"}
    assert "made inside a function" in message


def test_a_failure_that_touches_its_mates_is_caught(make_image):
    class Contagious(Faulty):
        def upscale(self, images, seeds):
            outcomes = super().upscale(images, seeds)
            failed = any(isinstance(outcome, Failure) for outcome in outcomes)
            return [Upscaled(o.image * 0.9) if failed and isinstance(o, Upscaled) else o for o in outcomes]

    setup = Setup(scale=2, options={"most": 0})
    failing = to_batch([make_image(24, 32, mark="fails")])[0]
    broken, message = _broken(lambda: Contagious(setup), setup, failing=failing)
    assert broken == {"info without torch", "failure stays alone"}
    assert "the mates of a failed image came out otherwise" in message


def test_the_callers_random_state_is_left_alone(quick):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_engine("test-noise", SETUP)
    assert torch.equal(torch.rand(3), expected)


def test_mistakes_of_the_caller_are_not_the_engines():
    with pytest.raises(EngineError, match="no engine is named 'nobody'"):
        check_engine("nobody", SETUP)
    with pytest.raises(EngineError, match="has no option colour"):
        check_engine("resample", Setup(scale=2, options={"colour": 1}))
    with pytest.raises(ConfigError, match="batch must be at least 2"):
        check_engine("resample", SETUP, batch=1)
