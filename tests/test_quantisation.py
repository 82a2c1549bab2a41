"""What training sees of the integer grids is what export writes."""

import numpy as np
import pytest
import torch

from presage.models.quantisation import FakeQuantiser, Linear, calibrate, integer_layer, module_list, round_to
from presage.models.training.loop import MODELS
from presage.models.training.trainable import Trainable


class Small(torch.nn.Module):
    """Two layers with an activation after each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Linear(12, 16), Linear(16, 8)
        self.grids = module_list([FakeQuantiser(signed=True), FakeQuantiser(), FakeQuantiser(signed=True)])

    def forward(self, x: torch.Tensor, quantised: bool = False) -> torch.Tensor:
        x = self.grids[0](x, quantised)
        x = self.grids[1](self.first(x, quantised=quantised), quantised)
        result: torch.Tensor = self.grids[2](self.second(x, quantised=quantised), quantised)
        return result


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    network, sample = Small(), torch.randn(500, 12)
    calibrate(network, sample)
    network.first.calibrate((5, int(network.grids[0].bits)), (7, int(network.grids[0].bits)))
    network.second.calibrate((16, int(network.grids[1].bits)))
    return network


@torch.no_grad()
def test_grids_are_the_finest_that_hold_the_values(network: Small) -> None:
    for layer in (network.first, network.second):
        integers = layer.integers()
        assert float(integers.abs().max()) <= 127
        assert float(integers.abs().amax(1).min()) >= 63  # half as fine would not do
        assert float((layer.weights(True) - layer.weight).abs().max()) <= 0.5 / float(layer.units().min()) + 1e-6
    for grid in network.grids:
        assert 63 < float(grid.largest * 2.0**grid.bits) <= 127.5


def test_exported_layers_are_the_quantised_ones(network: Small) -> None:
    x = torch.randn(300, 12)
    grids = network.grids
    with torch.no_grad():
        integers = (grids[0](x, True) * 2.0 ** grids[0].bits).long().numpy()
        for layer, after, low in ((network.first, grids[1], 0), (network.second, grids[2], -127)):
            exact = integer_layer(layer, after.bits)
            sums = integers @ exact.weight.astype(np.int64).T + exact.bias
            integers = (sums >> exact.shift).clip(low, 127)
        expected = (network(x, True) * 2.0 ** grids[2].bits).long().numpy()
    assert np.abs(integers - expected).max() <= 1  # the bias is finer in the integers
    assert (integers == expected).mean() > 0.99


def test_gradients_pass_the_rounding(network: Small) -> None:
    x = torch.tensor([0.2, 0.5, -0.5, 1.7], requires_grad=True)
    y = round_to(x, 1.0)
    assert y.tolist() == [0.0, 1.0, 0.0, 2.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0] * 4
    network(torch.randn(50, 12), True).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_what_training_asks_of_a_network(name: str) -> None:
    model = MODELS[name]
    prior = {"latent": {"width": 8, "head": 8}, "ordered": {"width": 8}}.get(name)
    more = {"prior": prior} if prior else {"tops": [2, 1], "order": [0, 1], "sizes": [1, 1]} if name == "progressive" else {}
    narrow = {"widths": [8], "blocks": [1], "coupling_widths": [8], "coupling_blocks": [0]} if name == "flow" else {"width": 8}
    network = model.network(model.config(**(narrow | more)))
    assert isinstance(network, Trainable)
    assert not network.is_quantised
    if name not in ("latent", "ordered", "progressive"):
        with pytest.raises(ValueError, match="start from checkpoints"):
            network.start_from({})
    buffers = [b for k, b in network.named_buffers() if k.endswith("quantised")]
    assert len(buffers) == (2 if name == "jpeg" else 1)  # one of every part of the network
    for buffer in buffers:
        buffer.fill_(True)
    assert network.is_quantised
