"""The ledger of what is allocated on the meta device."""

import torch
from srcache_plugins.seesr.ledger import Ledger
from torch.nn import functional


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def test_the_ledger_counts_storages_once_and_until_nothing_refers_to_them():
    with Ledger() as ledger:
        first = empty(100)
        view = first.view(10, 10)[2:]
        assert (ledger.live, ledger.peak) == (400, 400)
        second = first + 1
        del first
        assert ledger.live == 800
        del view
        assert ledger.live == 400
        del second
        assert (ledger.live, ledger.peak) == (0, 800)
        torch.empty(1000)
        assert ledger.peak == 800, "only what is on the device"


def test_what_waits_on_the_host_takes_no_room_and_comes_back_as_it_was():
    with torch.no_grad(), Ledger() as ledger:
        there = empty(1, 4, 6, 6).to(memory_format=torch.channels_last)
        strides = there.stride()
        waiting = there.cpu()
        del there
        assert (ledger.live, waiting.device.type) == (0, "cpu")
        assert not waiting.any()
        back = waiting.to("meta")
        assert (ledger.live, back.stride()) == (4 * 6 * 6 * 4, strides)


def test_a_convolution_with_channels_last_copies_an_input_that_is_not():
    weight = torch.empty(8, 4, 3, 3, device="meta").to(memory_format=torch.channels_last)
    for layout, extra in ((torch.contiguous_format, 1600), (torch.channels_last, 0)):
        image = empty(1, 4, 10, 10).to(memory_format=layout)
        with torch.no_grad(), Ledger() as ledger:
            ledger.enter(image)
            found = functional.conv2d(image, weight, padding=1)
            assert found.is_contiguous(memory_format=torch.channels_last)
            assert ledger.peak == 1600 + 3200 + extra
            assert ledger.live == 1600 + 3200


def test_a_recorded_call_keeps_its_peak_and_its_inputs():
    def act(given):
        wide = given.repeat(10)
        return wide[: len(given)] + 1

    with Ledger() as ledger:
        given = empty(100)
        result = ledger.recorded_call(act)(given)
        assert (ledger.inner, ledger.inputs, ledger.peak_inner) == (4000 + 400, 400, 400 + 4400)
        del given
        assert ledger.live == 400, "the recording has copies of its inputs, and does not refer to them"
        assert ledger.peak == 800
        assert result.shape == (100,)


def test_what_is_repeated_runs_once_and_is_counted_each_time():
    ran = []

    def act(given, times):
        ran.append(len(given))
        wide = given.repeat(times)
        return wide[: len(given)] + 1, wide * 2

    with Ledger() as ledger:
        acts, given, held = ledger.repeated(act), empty(100), []
        first = acts(given, 10)
        assert (ledger.live, ledger.peak) == (400 + 400 + 4000, 400 + 400 + 4000 + 4000)
        held.append(empty(50))
        ledger.restart()
        second = acts(given, 10)
        assert [each.shape for each in second] == [each.shape for each in first] == [(100,), (1000,)]
        assert (ledger.live, ledger.peak) == (400 + 200 + 2 * 4400, 400 + 4400 + 200 + 8400)
        acts(given, 5)
        acts(empty(7), 10)
        assert ran == [100, 100, 7]


def test_a_view_is_not_taken_for_a_result_of_its_own():
    ran = []
    with Ledger() as ledger:
        act = ledger.repeated(lambda given: ran.append(1) or given[2:])
        given = empty(10)
        assert act(given).untyped_storage()._cdata == act(given).untyped_storage()._cdata
        assert (len(ran), ledger.live) == (2, 40)
