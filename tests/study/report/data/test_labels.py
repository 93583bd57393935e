"""Names and digits of metrics and arms as papers write them."""

import pytest

from srcache.study.report.data.labels import arm_title, metric_name, score


def test_scores_have_the_digits_of_papers():
    assert score("psnr", 30.126) == "30.13 dB"
    assert score("ssim", 0.91234) == "0.9123"
    assert score("psnr", float("inf")) == "∞"


@pytest.mark.parametrize(
    ("metric", "value", "written"),
    [
        ("psnr_y", 30.126, "30.13 dB"),
        ("back_projection_psnr", 41, "41 dB"),
        ("lpips", 0.12345, "0.1235"),
        ("fid", -0.00001, "−0.0000"),
        ("psnr", float("-inf"), "−∞"),
        ("psnr", float("nan"), "–"),
        ("ssim", None, "–"),
        ("ssim", "0.9", "–"),
        ("psnr", True, "–"),
    ],
)
def test_a_score_is_written_as_its_metric_is(metric, value, written):
    assert score(metric, value) == written


def test_metrics_and_arms_have_their_names():
    assert [metric_name(one) for one in ("psnr_y", "clipiqa", "my_metric")] == ["PSNR-Y", "CLIPIQA", "my metric"]
    assert [arm_title(one) for one in ("lr", "sr", "hr", "bicubic", "my_arm")] == [
        "LR",
        "SR",
        "HR",
        "Bicubic",
        "my_arm",
    ]
