"""The numbers of label safety: scipy's and scikit-image's functions as oracles, bounds, and what beats what."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from images import picture
from PIL import Image
from safety_study import RandomClassifier
from scipy.spatial.distance import cosine
from scipy.special import softmax
from skimage.metrics import peak_signal_noise_ratio

from srcache.errors import ImageError
from srcache.study.safety.metrics import (
    Observation,
    agreement,
    back_projection,
    compare_labels,
    feature_distance,
    safe,
)

VECTORS = arrays(np.float64, 4, elements=st.floats(-20, 20))


@given(VECTORS, VECTORS)
def test_agreement_is_one_less_the_total_variation(left: Any, right: Any) -> None:
    expected = 1 - np.abs(softmax(left) - softmax(right)).sum() / 2
    assert agreement(left, right) == pytest.approx(expected, abs=1e-12)
    assert agreement(left, right) == agreement(right, left)
    assert 0 <= agreement(left, right) <= 1 == agreement(left, left)
    assert agreement(left + 3, right) == pytest.approx(expected, abs=1e-12)
    largest = max(
        abs(softmax(left)[list(some)].sum() - softmax(right)[list(some)].sum()) for some in ([0], [0, 1], [1, 3])
    )
    assert largest <= 1 - agreement(left, right) + 1e-12, "the largest difference over all sets of classes"


@pytest.mark.medium
@given(VECTORS, VECTORS)
def test_feature_distance_is_the_cosine_distance(left: Any, right: Any) -> None:
    assume(min(np.linalg.norm(left), np.linalg.norm(right)) > 1e-6)
    assert feature_distance(left, right) == pytest.approx(cosine(left, right), abs=1e-9)
    assert feature_distance(left, 7 * left) == pytest.approx(0, abs=1e-9)
    assert feature_distance(left, -left) == pytest.approx(2, abs=1e-9)


def test_feature_distance_of_nothing() -> None:
    nothing, something = np.zeros(4), np.ones(4)
    assert feature_distance(nothing, nothing) == 0
    assert feature_distance(nothing, something) == feature_distance(something, nothing) == 1


@pytest.mark.parametrize("resample", ["bicubic", "lanczos"])
def test_back_projection_is_the_psnr_of_the_way_back(resample: str) -> None:
    lr, sr = picture(17, 23, 1), picture(34, 47, 2)
    small = np.asarray(Image.fromarray(sr).resize((23, 17), getattr(Image.Resampling, resample.upper())))
    psnr, error = back_projection(sr, lr, resample)
    assert psnr == pytest.approx(peak_signal_noise_ratio(lr, small, data_range=255), abs=1e-12)
    assert error == pytest.approx(np.abs(small.astype(float) - lr).mean(), abs=1e-12)
    assert back_projection(lr, lr, resample) == (math.inf, 0)


NUMBERS = st.tuples(st.floats(0, 100), st.floats(0, 1), st.floats(0, 2))


@given(NUMBERS, NUMBERS)
def test_safe_lies_from_0_to_1_and_rises_with_every_part(one: Any, other: Any) -> None:
    better = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2])
    worse = min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2])
    assert 0 <= safe(*worse) <= safe(*one) <= safe(*better) <= 1
    assert safe(*one) <= safe(one[0])
    assert safe(*one) <= one[1]
    assert safe(math.inf, 1, 0) == 1


def test_safe_falls_with_back_projection_and_is_the_weakest_part() -> None:
    shares = {32: 0.9, 26: 0.8, 18: 0.5, 12: 0, 0: 0}
    assert {psnr: round(safe(psnr), 2) for psnr in shares} == pytest.approx(shares, abs=0.006)
    assert safe(math.inf) == 1
    assert safe(40, 0.3, 0.1) == 0.3
    assert safe(40, 0.9, 0.4) == 0.6
    assert safe(40, 0.9, 1.7) == 0


@pytest.mark.parametrize("with_hr", [True, False], ids=["hr", "no hr"])
def test_the_reference_is_hr_if_there_is_one(with_hr: bool) -> None:
    sr, lr, hr = (picture(20, 24, seed) for seed in range(3))
    classifier = RandomClassifier()
    found = compare_labels(classifier, Observation(sr, lr, hr if with_hr else None))
    reference = hr if with_hr else lr
    batch = np.stack([classifier.prepare(image).numpy() for image in (sr, lr, hr, reference)])
    logits, features = classifier.answers(batch)
    assert found.agree == pytest.approx(1 - np.abs(softmax(logits[0]) - softmax(logits[3])).sum() / 2, abs=1e-9)
    assert found.feature_distance == pytest.approx(cosine(features[0], features[3]), abs=1e-9)
    names = [classifier.classes[one] for one in logits.argmax(1)]
    assert (found.sr_label, found.lr_label) == (names[0], names[1])
    assert found.hr_label == (names[2] if with_hr else None)


def test_answers_that_are_not_finite_are_an_image_error() -> None:
    classifier = RandomClassifier()
    classifier.broken_at = 1
    with pytest.raises(ImageError, match="classifier runs/random gives numbers that are not finite") as caught:
        compare_labels(classifier, Observation(*(picture(20, 24, seed) for seed in range(3))))
    assert caught.value.reason == "not_finite"
