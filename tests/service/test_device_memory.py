"""The memory of a device: how many images fit, and how a call on CUDA is measured."""

import torch

from srcache.service.device_memory import cuda_gauge, fitting


def test_the_width_is_halved_until_the_predicted_peak_leaves_room():
    assert [fitting(16, lambda count: 100 * count, free) for free in (0, 100, 250, 500, 1999, 2000, 10**9)] == [
        1,
        1,
        2,
        4,
        8,
        16,
        16,
    ]
    assert fitting(16, lambda count: 0, 100) == 16
    assert fitting(1, lambda count: 10**9, 1) == 1


def test_on_cuda_the_gauge_reports_the_growth_at_its_worst_and_what_was_free(monkeypatch):
    assert cuda_gauge("cpu") is None
    order = []
    for name, value in {
        "synchronize": None,
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "mem_get_info": (700, 1000),
        "memory_allocated": 50,
        "max_memory_allocated": 180,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *device, name=name, value=value: order.append(name) or value)
    assert cuda_gauge("cuda:1")(lambda: order.append("call")) == (130, 700)
    assert order.index("empty_cache") < order.index("mem_get_info") < order.index("call")
    assert order.index("reset_peak_memory_stats") < order.index("call") < order.index("max_memory_allocated")
