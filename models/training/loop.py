"""Training: one plain loop for every model, resumable, on CPUs or GPUs, alone or under torchrun."""

import ctypes
import math
import os
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..latent import network as latent
from ..latent.export import latent_tensors
from ..ordered import network as ordered
from ..ordered.export import ordered_tensors
from ..photo import network as photo
from ..photo.export import photo_tensors
from ..pixelcnn import network as pixelcnn
from ..pixelcnn.export import pixelcnn_tensors
from .data import DataConfig, Pictures


@dataclass(frozen=True)
class Kind:
    """A kind of model: its settings, its network, its export, and the unit that its loss is shown in."""

    settings: Any
    network: Any
    tensors: Any
    unit: float = math.log(2)
    unit_name: str = "bits/dim"


MODELS = {
    "photo": Kind(photo.Config, photo.Photo, photo_tensors),
    "pixelcnn": Kind(pixelcnn.Config, pixelcnn.PixelCNN, pixelcnn_tensors),
    "latent": Kind(latent.Config, latent.Latent, latent_tensors, 1.0, "loss"),
    "ordered": Kind(ordered.Config, ordered.Ordered, ordered_tensors, 1.0, "loss"),
}


@dataclass(frozen=True)
class RunConfig:
    """A run file: [run] settings, [model] of the network, [data] of the pictures."""

    model: str
    name: str
    steps: int
    batch: int  # crops a step in every process
    rate: float = 4e-3
    warm_up: int = 300
    quantise_from: float = 0.85  # share of the steps after which weights and activations are on their grids
    quantised_rate: float = 0.1  # the learning rate there, relative to `rate`
    ema: float = 0.999
    clip: float = 0.0  # largest norm of a gradient; 0: any
    revive_every: int = 0  # steps between restarts of dead codes, up to half of all steps; 0: never. In one process only
    seed: int = 0
    about: str = ""  # a line about the model, kept in the weights file
    compile: bool = True
    report_every: int = 200
    save_every: int = 1000  # steps between checkpoints
    start: str = ""  # a checkpoint of another run whose weights are the first ones; `ordered`: or a `latent` weights file
    again: bool = False  # `ordered`: choose the order of the layers and first codebooks anew, for the transforms of `start`
    final: bool = True  # whether the end of the run gives weights, and not only a checkpoint for another run
    network: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def quantised_step(self) -> int:
        """The first step with weights and activations on their grids."""
        return int(self.steps * self.quantise_from)


def read_run(path: Path, overrides: Sequence[str]) -> RunConfig:
    """A run file with `section.key=value` overrides in TOML syntax applied."""
    tables = tomllib.loads(path.read_text())
    for override in overrides:
        key, _, value = override.partition("=")
        section, _, name = key.rpartition(".")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        tables.setdefault(section or "run", {})[name] = parsed
    try:
        return RunConfig(**tables["run"], network=tables.get("model", {}), data=tables["data"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def learning_rate(config: RunConfig, step: int) -> float:
    """Warm-up, half a cosine down to the quantised rate, then straight to zero."""
    quantised = config.quantised_step
    low = config.rate * config.quantised_rate
    if step < quantised:
        fall = 0.5 + 0.5 * math.cos(math.pi * step / quantised)
        return min(1.0, (step + 1) / config.warm_up) * (low + (config.rate - low) * fall)
    return low * (config.steps - step) / max(1, config.steps - quantised)


def averaged_network(config: RunConfig, state: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> nn.Module:
    """The network of a run in a state, with the averaged weights for its parameters."""
    kind = MODELS[config.model]
    network: nn.Module = kind.network(kind.settings(**config.network)).eval()
    network.load_state_dict({**state, **average})
    return network


class Trainer:
    """The state of a run: network, optimiser, averaged weights, step."""

    def __init__(self, config: RunConfig, out: Path, device: str) -> None:
        self.config, self.out, self.device = config, out, torch.device(device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(config.seed)
        self.kind = kind = MODELS[config.model]
        self.network = kind.network(kind.settings(**config.network)).to(self.device)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=config.rate, betas=(0.9, 0.99))
        if config.start and not self._from_weights:
            other = torch.load(config.start, map_location=self.device, weights_only=True)
            first = {**other["network"], **other["average"]}
            own = self.network.state_dict()
            first = {k: torch.tensor(False) if k.endswith("quantised") else v for k, v in first.items() if k in own}
            self.network.load_state_dict(first)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.step = 0
        self.pictures = Pictures(DataConfig(**config.data))
        if config.compile:
            self.network.compile_loss()

    @property
    def _from_weights(self) -> bool:
        return self.config.start.endswith(".safetensors")

    def begin(self) -> None:
        """What some networks take from the pictures before their first step."""
        if not isinstance(self.network, ordered.Ordered):
            return
        if self._from_weights:
            self.network.start_from_latent(load_file(self.config.start))
        sample = self.pictures.crops(ordered.SAMPLE, np.random.default_rng(self.config.seed))
        self.network.begin(torch.from_numpy(sample).to(self.device), fresh=self._from_weights or self.config.again or not self.config.start)
        self._average_from_network()

    def _average_from_network(self) -> None:
        for name, value in self.network.named_parameters():
            self.average[name].copy_(value.detach())

    @property
    def checkpoint(self) -> Path:
        return self.out / f"{self.config.name}.checkpoint"

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        if self.rank:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
        }
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.step = state["step"]

    def averaged(self) -> nn.Module:
        """The network with the averaged weights."""
        return averaged_network(self.config, self.network.state_dict(), self.average).to(self.device)

    def evaluate(self) -> str:
        """What the averaged network does to the held-out crops, in words."""
        network = self.averaged()
        crops = torch.from_numpy(self.pictures.validation_crops()).to(self.device)
        with torch.no_grad():
            if isinstance(network, latent.Latent | ordered.Ordered):
                return network.describe(crops)
            means = [float(network(batch).mean()) * len(batch) for batch in crops.split(max(4, self.config.batch))]
        return f"{sum(means) / len(crops) / self.kind.unit:.4f} {self.kind.unit_name}"

    def train(self, log: Callable[[str], None]) -> None:
        """Run to the last step; `log` takes lines of text."""
        config = self.config
        parallel: nn.Module = self.network
        if dist.is_initialized():
            parallel = nn.parallel.DistributedDataParallel(self.network)
        processes = dist.get_world_size() if dist.is_initialized() else 1
        random = np.random.default_rng((config.seed, self.rank, self.step))
        first = self.step
        started, pixels, total, count = time.monotonic(), 0, torch.zeros((), device=self.device), 0
        while self.step < config.steps:
            if self.step >= config.quantised_step and not bool(self.network.quantised):
                self._start_from_average()
                self.network.quantise(torch.from_numpy(self.pictures.crops(4, random)).to(self.device))
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(config, self.step)
            batch = torch.from_numpy(self.pictures.crops(config.batch, random)).to(self.device)
            if config.revive_every and self.step % config.revive_every == 0 and self.step < config.steps // 2:
                self.network.restart_dead_codes(batch)
            loss: Tensor = parallel(batch).mean()
            self.optimiser.zero_grad()
            loss.backward()
            if config.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            self.optimiser.step()
            self.step += 1
            decay = min(config.ema, 1 - 1 / (self.step + 1))
            torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.network.parameters()], 1 - decay)
            total += loss.detach()
            count += 1
            pixels += batch.shape[0] * batch.shape[1] * batch.shape[2] * processes
            if self.step % config.save_every == 0 or self.step == config.steps:
                self.save()
                if not self.rank:
                    log(f"step {self.step}: held-out {self.evaluate()}")
            if self.step % config.report_every == 0 and not self.rank:
                spent = time.monotonic() - started
                left = (config.steps - self.step) * spent / (self.step - first)
                log(
                    f"step {self.step}/{config.steps}  {float(total) / count / self.kind.unit:.4f} {self.kind.unit_name}  "
                    f"{pixels / spent / 1e3:.0f} kpixel/s  rate {learning_rate(config, self.step):.1e}  {left / 60:.0f} min left"
                )
                total.zero_()
                count = 0

    def _start_from_average(self) -> None:
        """The averaged weights are the better starting point for quantised training."""
        for name, value in self.network.named_parameters():
            value.data.copy_(self.average[name])


def run(path: Path, overrides: Sequence[str], out: Path, resume: bool, device: str, log: Callable[[str], None]) -> Path:
    """Train what a run file describes; returns the last checkpoint. Under torchrun every process calls this.

    Raises ValueError for a wrong run file and FileNotFoundError for missing pictures or checkpoint.
    """
    config = read_run(path, overrides)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        if device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
    keep_memory()
    try:
        trainer = Trainer(config, out, device)
        if resume:
            trainer.load(trainer.checkpoint)
        elif trainer.checkpoint.exists() and not trainer.rank:
            raise FileExistsError(f"{trainer.checkpoint} exists; continue it with --resume or choose another --out")
        else:
            trainer.begin()
        trainer.train(log)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return trainer.checkpoint


def export(path: Path, overrides: Sequence[str], out: Path) -> Path | None:
    """Write the integer weights of a run's checkpoint; returns their file, or None in all but the first process."""
    if int(os.environ.get("RANK", "0")):
        return None
    config = read_run(path, overrides)
    if not config.final:
        return None
    state = torch.load(out / f"{config.name}.checkpoint", map_location="cpu", weights_only=True)
    model = averaged_network(config, state["network"], state["average"])
    if not bool(model.quantised):
        raise ValueError(f"the checkpoint at step {state['step']} is not on integer grids yet; train to the end first")
    weights = out / f"{config.name}.safetensors"
    metadata = {"model": config.model, "about": config.about, "steps": str(state["step"]), "side": str(config.data.get("crop", 0))}
    tensors = MODELS[config.model].tensors(model)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, weights, metadata)
    return weights


def keep_memory() -> None:
    """Ask glibc to keep freed blocks: fresh pages for every large tensor would cost a third of the time."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            libc.mallopt(-2, 2**28)  # M_TOP_PAD
            libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, its largest value
