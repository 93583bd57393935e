"""Networks: the thesis's to the last weight, Keras' start, torchvision's by name with weights from elsewhere."""

import os

import pytest
import torch
from torch import nn

from srcache.errors import ConfigError, WeightsError
from srcache.study.train.networks import (
    CHANNELS,
    build_network,
    default_size,
    last_layer,
    require_name,
    thesis_cnn,
    uses_batch_statistics,
)


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")


@pytest.mark.parametrize(("name", "weights"), [("thesis-lr", 1_806_234), ("thesis-sr", 2_396_442)])
def test_the_thesis_networks_have_its_number_of_weights(name, weights):
    with torch.device("meta"):
        network = build_network(name, 2, default_size(name))
    assert count(network) == weights
    assert [layer.out_channels for layer in network if isinstance(layer, nn.Conv2d)] == list(CHANNELS[name])
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [512, 200, 2]
    assert network(torch.rand(1, 3, *default_size(name), device="meta")).shape == (1, 2)


def test_the_sizes_they_are_meant_for():
    wanted = {"thesis-lr": 340, "thesis-sr": 1360, "small": 64, "small:20": 64}
    wanted |= {"torchvision:resnet18": 224, "torchvision:inception_v3": 299}
    assert {name: default_size(name) for name in wanted} == {name: (side, side) for name, side in wanted.items()}


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 16, 33])
def test_pooling_rounds_up_as_in_keras(keras, side):
    """Keras' `same` pooling, on a image where every place has another value."""
    image = torch.arange(side * (side + 1) * 3.0).reshape(1, side, side + 1, 3)
    wanted = keras.layers.MaxPooling2D(2, padding="same")(image).permute(0, 3, 1, 2)
    assert torch.equal(nn.MaxPool2d(2, ceil_mode=True)(image.permute(0, 3, 1, 2)), wanted)
    assert thesis_cnn((2, 2, 2), 2, (side, side + 1))(torch.rand(1, 3, side, side + 1)).shape == (1, 2)


@pytest.mark.slow
def test_the_complete_thesis_network_computes_what_keras_computes(keras):
    """The same weights in Keras' layers, in Keras' order of axes, give the same logits."""
    torch.manual_seed(0)
    channels, size = (4, 4, 6), (21, 18)
    ours = thesis_cnn(channels, 3, size)
    layers = [keras.layers.Input((*size, 3))]
    for outputs in channels:
        layers.append(keras.layers.Conv2D(outputs, 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling2D(2, padding="same"))
    layers += [keras.layers.Permute((3, 1, 2)), keras.layers.Flatten()]
    layers += [keras.layers.Dense(512, activation="relu"), keras.layers.Dense(200, activation="relu")]
    theirs = keras.Sequential([*layers, keras.layers.Dense(3)])
    own = [layer for layer in ours if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, other in zip(own, [layer for layer in theirs.layers if layer.weights], strict=True):
        axes = (2, 3, 1, 0) if isinstance(layer, nn.Conv2d) else (1, 0)
        other.set_weights([layer.weight.detach().permute(axes).numpy(), layer.bias.detach().numpy()])
    images = torch.rand(2, 3, *size)
    assert count(ours) == theirs.count_params()
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images.permute(0, 2, 3, 1)), rtol=1e-4, atol=1e-5)


def test_weights_start_as_keras_starts_them(keras):
    """Glorot-uniform: its limit is that of Keras' initialiser, and all of the range is used; biases are zero."""
    torch.manual_seed(0)
    network = build_network("thesis-lr", 2, (16, 16))
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            shape = layer.weight.permute(2, 3, 1, 0).shape if layer.weight.ndim == 4 else layer.weight.T.shape
            theirs = keras.initializers.GlorotUniform(seed=1)(tuple(shape)).abs().max().item()
            ours = layer.weight.abs().max().item()
            assert ours == pytest.approx(theirs, rel=0.02)
            assert abs(layer.weight.mean().item()) < 0.1 * ours
            assert not layer.bias.any()


def test_the_seed_of_torch_decides_the_first_weights():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(build_network("thesis-lr", 2, (16, 16))[0].weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 48), (31, 100)])
def test_every_class_and_size_gets_an_answer(height, width):
    for name in ("small:2", "thesis-lr"):
        assert build_network(name, 5, (height, width)).eval()(torch.rand(3, 3, height, width)).shape == (3, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("alexnet", "must be thesis-lr, thesis-sr, small, small:WIDTH or torchvision:NAME, but is 'alexnet'"),
        ("small:0", "but is 'small:0'"),
        ("torchvision:", "but is 'torchvision:'"),
    ],
)
def test_a_name_that_is_none_is_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        require_name(name)


def test_torchvision_names_that_are_near_are_listed():
    with pytest.raises(ConfigError, match=r"no classification network 'resnet19'; it has .*resnet18"):
        build_network("torchvision:resnet19", 2, (32, 32))
    with pytest.raises(ConfigError, match="no classification network"):
        build_network("torchvision:fasterrcnn_resnet50_fpn", 2, (32, 32))
    with pytest.raises(ConfigError, match="takes square images"):
        build_network("torchvision:vit_b_16", 2, (32, 64))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_torchvision_networks_answer_for_our_classes(name):
    network = build_network(f"torchvision:{name}", 3, (64, 64)).eval()
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert last_layer(network).weight.shape[0] == 3


def test_torchvision_networks_see_images_as_their_own_training_did():
    network = build_network("torchvision:squeezenet1_1", 2, (64, 64))
    grey = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert network[0](grey).abs().max() < 1e-6
    assert torch.allclose(network[0](grey + 0.1)[0, :, 0, 0], 0.1 / torch.tensor([0.229, 0.224, 0.225]))


@pytest.mark.medium
def test_weights_of_another_training_are_taken_all_but_the_last_layer():
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    trained = mobilenet_v3_small(num_classes=7).state_dict()
    network = build_network("torchvision:mobilenet_v3_small", 2, (64, 64), trained)
    own = network[1].state_dict()
    head = {"classifier.3.weight", "classifier.3.bias"}
    assert all(torch.equal(own[name], trained[name]) for name in set(own) - head)
    assert own["classifier.3.weight"].shape[0] == 2
    same_count = build_network("torchvision:mobilenet_v3_small", 7, (64, 64), trained)[1].state_dict()
    assert not torch.equal(same_count["classifier.3.weight"], trained["classifier.3.weight"]), "replaced all the same"


def test_weights_of_another_network_are_refused_with_what_is_wrong():
    from torchvision.models import mobilenet_v3_small, squeezenet1_1

    trained = mobilenet_v3_small(num_classes=7).state_dict()
    with pytest.raises(WeightsError, match=r"torchvision:squeezenet1_1: they lack \d+ .*have besides \d+"):
        build_network("torchvision:squeezenet1_1", 2, (64, 64), trained)
    wrong = squeezenet1_1(num_classes=7).state_dict()
    wrong["features.0.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=r"have another shape of 1 \(features\.0\.bias\)"):
        build_network("torchvision:squeezenet1_1", 2, (64, 64), wrong)
    with pytest.raises(ConfigError, match="for torchvision:NAME only"):
        build_network("small", 2, (64, 64), trained)


def test_which_networks_need_full_batches_is_known():
    assert uses_batch_statistics(build_network("small:2", 2, (16, 16)))
    assert not uses_batch_statistics(build_network("thesis-lr", 2, (16, 16)))
