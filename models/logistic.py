"""The output distribution: a mixture of discretised logistics around the prediction, as a float loss for training.

The exact integer form of the same distribution is in `frequencies.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .units import LOGIT_RANGE, OFFSET_UNIT, SCALE_RANGE


def initial_bias(mixtures: int) -> Tensor:
    """Output biases that spread the components: offsets, log-scales, logits; (3 mixtures)."""
    offsets, scales = torch.linspace(-0.5, 0.5, mixtures), torch.linspace(-0.5, 2.0, mixtures)
    return torch.cat([offsets, scales, torch.zeros(mixtures)])


def nats(output: Tensor, symbols: Tensor, centres: Tensor, step: int = 1) -> Tensor:
    """-log P(symbol), shape (...).

    output: (..., 3 K) = offsets in OFFSET_UNIT grey levels, log-scales, logits. symbols: grey levels 0, step, ... below
    256 as float (...). centres: the predictions in grey levels (...). The two end symbols take the tails (Salimans et al.
    2017, section 2.1).
    """
    offset, scale, logit = output.unflatten(-1, (3, -1)).unbind(-2)
    inverse = torch.exp(-scale.clamp(*SCALE_RANGE))
    distance = (symbols - centres).unsqueeze(-1) - offset * OFFSET_UNIT
    half = step / 2
    first, last = (symbols < half).unsqueeze(-1), (symbols > 256 - step - half).unsqueeze(-1)
    # log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), stable in the tails
    above = torch.where(last, 0.0, -F.softplus(-(distance + half) * inverse))
    below = torch.where(first, 0.0, -F.softplus((distance - half) * inverse))
    between = torch.where(first | last, 0.0, torch.log(-torch.expm1(-step * inverse)))
    logit = logit.clamp(-LOGIT_RANGE, LOGIT_RANGE)
    return torch.logsumexp(logit, -1) - torch.logsumexp(above + below + between + logit, -1)


def probabilities(output: Tensor, centres: Tensor, step: int) -> Tensor:
    """P of every symbol 0, step, ... below 256 of the same distribution; (..., 256 / step), not stable in the far tails."""
    offset, scale, logit = output.unflatten(-1, (3, -1)).unbind(-2)
    inverse = torch.exp(-scale.clamp(*SCALE_RANGE))
    edges = torch.arange(1, 256 // step, device=output.device) * step - step / 2
    place = edges - (centres.unsqueeze(-1) + offset * OFFSET_UNIT).unsqueeze(-1)
    share = logit.clamp(-LOGIT_RANGE, LOGIT_RANGE).softmax(-1).unsqueeze(-1)
    cumulative = (torch.sigmoid(place * inverse.unsqueeze(-1)) * share).sum(-2)
    return torch.diff(F.pad(F.pad(cumulative, (1, 0)), (0, 1), value=1.0))
