"""The `progressive` network in floating point, as it is trained; `digits.py` is its integer form.

It predicts the digits of latents (`rounds.py`). A trunk sees what is known of all channels at 3 x 3 places, then 3 x 3 of its own
vectors, and is told the round. A small head for every channel sees the trunk's vector and what is known of its own channel around, and
gives three logits. After Lee et al. 2022 (DPICT), with two digits instead of three, and in place of the prior a network that knows the
coarser digits of all neighbours, before and after.

The latents are those of a `latent` network at one quality, and its transforms come along. In the stage `decoder` the decoder alone learns
what cut latents look like; encoder, latents and digits stay what they are.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..autoencoder import mean_psnr, squared_errors
from ..latent.network import QUALITIES, LatentConfig, Transforms
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list
from ..training.trainable import Trainable
from .reconstruction import best_precisions, decode, mean_points, values
from .rounds import KINDS, LINEAR_BITS, LOCAL, PARTS, PLANES, STEPS, ProgressiveConfig, cells, compand_table, in_pattern

AROUND = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2)]
DRAWS = 3  # rounds of a training step
FIRST_SHARE = 0.02  # bits a pixel of a round, to begin with
SAMPLE, DECODED, FITTED = 512, 6, 16  # crops of which means are taken, that are decoded, and that bases are fitted to
NEWTON = 2  # steps
BASE = 8.0
LEAST_BITS = 0.03  # a pixel: cuts below are hardly drawn
SHOWN = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)  # bits a pixel, of the rounds after which decoded pixels are compared
LEAST = 0.01  # chance of a round to be drawn, at least, before they are made to sum to 1


class Progressive(Trainable):
    """`forward` gives bits a pixel of latents, int16 (B, h, w, channels); in the stage `decoder` minus the PSNR of pixels, uint8
    (B, H, W, 3), of which a random number of digits is known."""

    quantised: Tensor
    depths: Tensor
    spent: Tensor
    points: Tensor
    precision: Tensor
    unit, unit_name = 1.0, "bits/pixel"

    def __init__(self, config: ProgressiveConfig) -> None:
        super().__init__()
        self.config, self.rounds = config, config.rounds()
        c, rounds = config, len(self.rounds)
        self.transforms = Transforms(LatentConfig(**config.transforms))
        self.transforms.requires_grad_(False)
        self.first = Linear(9 * 2 * c.channels + rounds, c.width)
        self.narrow = Linear(c.width, c.narrow)
        self.second = Linear(9 * c.narrow + c.width, c.width)
        self.heads = module_list([Linear(c.width + LOCAL, c.head) for _ in range(c.channels)])
        self.outs = module_list([Linear(c.head, PARTS) for _ in range(c.channels)])
        # what all heads have in common is learnt in one place, and becomes part of each when grids are chosen
        self.local = nn.Parameter(torch.randn(c.head, LOCAL) * LOCAL**-0.5)
        self.out = nn.Parameter(torch.randn(PARTS, c.head) * 0.1)
        self.bases = nn.Parameter(torch.zeros(rounds, c.channels, PARTS))  # of logits; in units of BASE, so that they are learnt fast
        self.first_grid, self.narrow_grid, self.second_grid, self.head_grid = (FakeQuantiser() for _ in range(4))
        with torch.no_grad():
            self.first.weight[:, 9 * 2 * c.channels :] = 0
            for head, out in zip(self.heads, self.outs, strict=True):
                head.weight[:, c.width :] = 0
                out.weight.zero_()
        self.register_buffer("quantised", torch.tensor(False))
        self.register_buffer("depths", torch.from_numpy(config.depths()), persistent=False)
        self.register_buffer("spent", torch.full((rounds,), FIRST_SHARE))
        self.register_buffer("points", torch.zeros(PLANES, c.channels, KINDS))
        self.register_buffer("precision", torch.ones(rounds + 1))
        if config.stage == "decoder":
            self.requires_grad_(False)
            self.transforms.decoder.requires_grad_(True)
            self.transforms.inverse_gain.requires_grad_(True)
            self.unit, self.unit_name = -1.0, "dB"

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        if self.config.stage == "decoder":
            self.load_state_dict(state)
        else:
            super().adopt(state)

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        self.transforms.take(tensors)

    def begin(self, crops: Callable[[int], Tensor], fresh: bool) -> None:
        if self.config.stage == "decoder":
            return
        if fresh:
            self.points.copy_(mean_points(crops(SAMPLE), self.config.tops))
            self.precision.copy_(best_precisions(self.transforms, self.config, self.points, crops(DECODED)))
        self.fit_bases(crops(FITTED))

    @torch.no_grad()
    def fit_bases(self, latents: Tensor) -> None:
        """Change the bases of logits until things happen about as often as is expected of them: some steps of Newton's method."""
        for number, one in enumerate(self.rounds):
            for _ in range(NEWTON):
                logits, happened, asked = self._events(latents, number)
                chance = logits.sigmoid()
                rise = ((happened.float() - chance) * asked).sum(1)
                slope = (chance * (1 - chance) * asked).sum(1)
                step = torch.where(asked.sum(1) >= 1, rise / (slope + 1), 0).clamp(-2, 2)
                self.bases[number, list(one.channels)] += step / BASE

    def quantise(self, sample: Tensor) -> None:
        c = self.config
        self.merge()
        self.local.requires_grad_(False)
        self.out.requires_grad_(False)
        calibrate(self, sample)
        first, narrow, second, inner = (int(grid.bits) for grid in (self.first_grid, self.narrow_grid, self.second_grid, self.head_grid))
        self.first.calibrate((9 * 2 * c.channels + len(self.rounds), INPUT_BITS))
        self.narrow.calibrate((c.width, first))
        self.second.calibrate((9 * c.narrow, narrow), (c.width, first))
        for one, out in zip(self.heads, self.outs, strict=True):
            one.calibrate((c.width, second), (LOCAL, INPUT_BITS))
            out.calibrate((c.head, inner))
        self.quantised.fill_(True)

    @torch.no_grad()
    def merge(self) -> None:
        """Make what all heads have in common part of each."""
        for head, out in zip(self.heads, self.outs, strict=True):
            head.weight[:, self.config.width :].add_(self.local)
            out.weight.add_(self.out)
        self.local.zero_()
        self.out.zero_()

    def _known(self, latents: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Bits of magnitudes before a round, and twice the middles, of latents (B, h, w, channels)."""
        depth = self.depths[number][torch.from_numpy(cells(*latents.shape[1:3])).to(latents.device)]
        bits = latents.abs() >> depth
        doubled = ((2 * bits + 1) << depth) - 1
        return bits, torch.where(bits > 0, doubled * latents.sign(), 0)

    def trunk(self, middles: Tensor, number: int) -> Tensor:
        """Vectors (B, h, w, width) of places, given twice the middles (B, h, w, channels)."""
        q = bool(self.quantised)
        x = companded(middles, self.rounds[number].plane)
        seen, told = self.first.weights(q).split([9 * 2 * self.config.channels, len(self.rounds)], 1)
        a = self.first_grid(convolution(torch.cat([x, x.abs()], -1), seen, self.first.bias + told[:, number]), q)
        b = self.narrow_grid(self.narrow(a, quantised=q), q)
        around, own = self.second.weights(q).split([9 * self.config.narrow, self.config.width], 1)
        found: Tensor = self.second_grid(convolution(b, around, self.second.bias) + F.linear(a, own), q)
        return found

    def logits(self, vectors: Tensor, middles: Tensor, number: int) -> Tensor:
        """Of the digits of a round at all places, (channels of the round, B h w, 3)."""
        q, one = bool(self.quantised), self.rounds[number]
        own = middles[..., list(one.channels)]
        step, sign = STEPS[one.places], own.sign()
        towards = [torch.where(own == 0, part, sign * (part - own)) for part in near(own, step)]
        towards[4] = own
        linear = [round_down(part.float() * 2.0**LINEAR_BITS / 2**one.plane).clamp(-127, 127) / 2.0**INPUT_BITS for part in towards]
        magnitudes = companded(own, one.plane).abs()
        around = [*linear, *(part for i, part in enumerate(near(magnitudes, step)) if i != 4)]
        local = torch.stack(around, -1).flatten(0, 2).transpose(0, 1)  # (channels, places, LOCAL)
        heads, outs = [self.heads[c] for c in one.channels], [self.outs[c] for c in one.channels]
        weights = torch.stack([head.weights(q) for head in heads])
        shared, alone = weights.split([self.config.width, LOCAL], 2)
        x = (vectors.flatten(0, 2) @ shared.flatten(0, 1).t()).unflatten(-1, shared.shape[:2]).transpose(0, 1)
        biases = torch.stack([head.bias for head in heads])[:, None]
        z = self.head_grid(x + torch.bmm(local, (alone + self.local).transpose(1, 2)) + biases, q)
        last = (torch.stack([out.weights(q) for out in outs]) + self.out).transpose(1, 2)
        biases = torch.stack([out.bias for out in outs]) + BASE * self.bases[number, list(one.channels)]
        found: Tensor = torch.bmm(z, last) + biases[:, None]
        return found

    def _events(self, latents: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of what may happen in a round of latents (B, h, w, channels), whether it did, and whether it is asked; each
        (channels of the round, B h w, 3)."""
        one = self.rounds[number]
        most = (1 << torch.tensor(self.config.tops)) - 1
        latents = latents.int().clamp(-most, most)
        before, middles = self._known(latents, number)
        logits = self.logits(self.trunk(middles, number), middles, number)
        own, before = (part[..., list(one.channels)].flatten(0, 2).t() for part in (latents, before))
        bit, new = (own.abs() >> one.plane & 1).bool(), before == 0
        here = torch.from_numpy(in_pattern(one.places, *latents.shape[1:3])).flatten().repeat(len(latents))
        return logits, torch.stack([bit, own > 0, bit], -1), torch.stack([new & here, new & bit & here, ~new & here], -1)

    def bits(self, latents: Tensor, number: int) -> Tensor:
        """Of the digits of a round of latents (B, h, w, channels), (B)."""
        logits, happened, asked = self._events(latents, number)
        nats = (bernoulli(logits, happened) * asked).sum(-1)
        found: Tensor = nats.unflatten(1, (len(latents), -1)).sum((0, 2)) / math.log(2)
        return found

    def cut_errors(self, pixels: Tensor, numbers: Tensor, part: Tensor) -> Tensor:
        """Squared errors in grey levels (B) of pixels, uint8 (B, H, W, 3), after so many rounds and a part of the next one, (B) each."""
        place = torch.full((len(pixels),), self.config.quality / (QUALITIES - 1))
        with torch.no_grad():
            most = (1 << torch.tensor(self.config.tops)) - 1
            latents = self.transforms.scaled(self.transforms.encode(pixels, torch.float32), place).round().int().clamp(-most, most)
            following = (numbers + 1).clamp(max=len(self.rounds))
            board = torch.from_numpy(cells(*latents.shape[1:3]))
            sooner = torch.rand(latents.shape) < part[:, None, None, None]
            depth = torch.where(sooner, self.depths[following][:, board], self.depths[numbers][:, board])
            found = values(latents.abs() >> depth, latents < 0, depth, self.points)
            told = torch.lerp(self.precision[numbers], self.precision[following], part)
        return squared_errors(decode(self.transforms, found, self.config.quality, told), pixels)

    def _cut(self, pixels: Tensor) -> Tensor:
        """Minus the PSNR (B) of pixels, cut anywhere: evenly in the logarithm of the bytes."""
        size = self.spent.cumsum(0)
        chance = ((size + LEAST_BITS) / (size - self.spent + LEAST_BITS)).log()
        numbers = torch.multinomial(chance, len(pixels), replacement=True)
        errors = self.cut_errors(pixels, numbers, torch.rand(len(pixels)))
        return 10 * torch.log10(errors / 255**2)

    def describe(self, parts: Sequence[Tensor]) -> str:
        """Bits a pixel after some rounds and after all; in the stage `decoder` PSNR."""
        shown = [int((self.spent.cumsum(0) <= bits).sum()) for bits in SHOWN]
        if self.config.stage == "digits":
            bits = torch.cat([self._by_round(part) for part in parts]).mean(0).cumsum(0)
            return "bits/pixel after rounds " + ", ".join(f"{number}: {float(bits[number - 1]):.4f}" for number in shown if number)
        said = []
        for number in shown:
            errors = [self.cut_errors(part, torch.full((len(part),), number), torch.zeros(len(part))) for part in parts]
            said.append(f"{number}: {mean_psnr(torch.cat(errors)):.2f}")
        return "PSNR after rounds " + ", ".join(said)

    def _by_round(self, latents: Tensor) -> Tensor:
        """Bits a pixel of each round, (B, rounds)."""
        pixels = latents.shape[1] * latents.shape[2] * self.transforms.config.side**2
        return torch.stack([self.bits(latents, number) for number in range(len(self.rounds))], 1) / pixels

    def forward(self, latents: Tensor) -> Tensor:
        """Bits a pixel (B) of latents; with gradients an estimate by some rounds, those with more bits more often."""
        if self.config.stage == "decoder":
            return self._cut(latents)
        if not torch.is_grad_enabled():
            return self._by_round(latents).sum(1)
        pixels = latents.shape[1] * latents.shape[2] * self.transforms.config.side**2
        chance = (self.spent / self.spent.sum()).sqrt() + LEAST
        chance = chance / chance.sum()
        total = torch.zeros(len(latents))
        for number in torch.multinomial(chance, DRAWS, replacement=True).tolist():
            bits = self.bits(latents, number) / pixels
            self.spent[number] = 0.9 * self.spent[number] + 0.1 * bits.mean().detach()
            total = total + bits / (DRAWS * chance[number])
        return total


def bernoulli(logits: Tensor, happened: Tensor) -> Tensor:
    """Nats of what happened or did not, with logits of its chance."""
    return F.softplus(torch.where(happened, -logits, logits))


def round_down(values: Tensor) -> Tensor:
    """Towards 0."""
    return values.sign() * values.abs().floor()


def companded(middles: Tensor, plane: int) -> Tensor:
    """Twice the middles as inputs, by `rounds.compand_table`."""
    table = torch.from_numpy(compand_table()[plane]).float() / 2.0**INPUT_BITS
    return middles.sign() * table[middles.abs().long()]


def near(x: Tensor, step: int) -> list[Tensor]:
    """What the 3 x 3 places around have, so many rows and columns away, row by row, of (B, h, w, n); 0 outside."""
    height, width = x.shape[1:3]
    wide = F.pad(x, (0, 0, step, step, step, step))
    return [wide[:, step * dy : step * dy + height, step * dx : step * dx + width] for dy, dx in AROUND]


def convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A dense layer of the 3 x 3 places around, (B, h, w, n) -> (B, h, w, outputs)."""
    kernel = weight.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=1).permute(0, 2, 3, 1)
