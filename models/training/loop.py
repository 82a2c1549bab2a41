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
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..ardm import network as ardm
from ..ardm.export import ardm_tensors
from ..ardm.stages import ArdmConfig
from ..flow import network as flow
from ..flow.export import flow_tensors
from ..flow.plan import FlowConfig
from ..jpeg import network as jpeg
from ..jpeg.export import jpeg_tensors
from ..latent import network as latent
from ..latent.export import latent_tensors
from ..ordered import network as ordered
from ..ordered.export import ordered_tensors
from ..photo import network as photo
from ..photo.export import photo_tensors
from ..pixelcnn import network as pixelcnn
from ..pixelcnn.export import pixelcnn_tensors
from ..planes import network as planes
from ..planes.export import planes_tensors
from ..progressive import network as progressive
from ..progressive.export import progressive_tensors
from ..progressive.rounds import ProgressiveConfig
from .data import DataConfig, Pictures
from .jpeg import JpegBlocks, JpegData
from .latents import LatentCrops, LatentData
from .trainable import Trainable


class Model(NamedTuple):
    """What can be trained: the settings of a network, the network, the tensors of its weights file, and where its batches come from."""

    config: Callable[..., Any]
    network: Callable[[Any], Trainable]
    tensors: Callable[[Any], dict[str, Tensor]]
    data: Callable[[Mapping[str, Any]], Any] = lambda settings: Pictures(DataConfig(**settings))


def latents_or_pictures(settings: Mapping[str, Any]) -> Any:
    """The latents that weights make of pictures, if there are any in the settings, or pictures."""
    return LatentCrops(LatentData(**settings)) if "weights" in settings else Pictures(DataConfig(**settings))


MODELS = {
    "ardm": Model(ArdmConfig, ardm.Ardm, ardm_tensors),
    "photo": Model(photo.PhotoConfig, photo.Photo, photo_tensors),
    "planes": Model(photo.PhotoConfig, planes.Planes, planes_tensors),
    "pixelcnn": Model(pixelcnn.PixelCNNConfig, pixelcnn.PixelCNN, pixelcnn_tensors),
    "flow": Model(FlowConfig, flow.Flow, flow_tensors),
    "latent": Model(latent.LatentConfig, latent.Latent, latent_tensors),
    "ordered": Model(ordered.OrderedConfig, ordered.Ordered, ordered_tensors),
    "jpeg": Model(jpeg.JpegConfig, jpeg.Jpeg, jpeg_tensors, lambda settings: JpegBlocks(JpegData(**settings))),
    "progressive": Model(ProgressiveConfig, progressive.Progressive, progressive_tensors, latents_or_pictures),
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


def new_network(config: RunConfig) -> Trainable:
    """The untrained network of a run."""
    model = MODELS[config.model]
    return model.network(model.config(**config.network))


def averaged(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of a checkpoint's network, the averaged ones for its parameters."""
    return {**state["network"], **state["average"]}


def averaged_network(config: RunConfig, state: Mapping[str, Any]) -> Trainable:
    """The network of a run's checkpoint, with the averaged weights for its parameters."""
    network = new_network(config).eval()
    network.load_state_dict(averaged(state))
    return network


def moved(batch: Any, device: torch.device) -> Any:
    """A batch, which may be tensors by their names, on a device."""
    return {name: moved(part, device) for name, part in batch.items()} if isinstance(batch, Mapping) else batch.to(device)


def places_of(batch: Any) -> int:
    """Pixels, or blocks, of a batch."""
    if isinstance(batch, Mapping):
        return sum(len(part["last"]) for part in batch.values())
    count: int = batch[..., 0].numel()
    return count


class Trainer:
    """The state of a run: network, optimiser, averaged weights, step."""

    def __init__(self, config: RunConfig, out: Path, device: str) -> None:
        self.config, self.out, self.device = config, out, torch.device(device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(config.seed)
        self.network = new_network(config).to(self.device)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=config.rate, betas=(0.9, 0.99))
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.step = 0
        self.pictures = MODELS[config.model].data(config.data)
        if config.compile:
            self.network.compile_loss()

    def begin(self) -> None:
        """First weights: those of `start`, and what the network takes from the pictures."""
        start, random = self.config.start, np.random.default_rng(self.config.seed)
        from_weights = start.endswith(".safetensors")
        if from_weights:
            self.network.start_from(load_file(start, device=str(self.device)))
        elif start:
            self.network.adopt(averaged(torch.load(start, map_location=self.device, weights_only=True)))
        self.network.begin(lambda count: self._crops(count, random), fresh=from_weights or self.config.again or not start)
        for name, value in self.network.named_parameters():
            self.average[name].copy_(value.detach())

    def _crops(self, count: int, random: np.random.Generator) -> Any:
        """Random training crops, uint8 (count, crop, crop, channels), or what else the network takes."""
        return moved(self.pictures.batch(count, random), self.device)

    @property
    def checkpoint(self) -> Path:
        return self.out / f"{self.config.name}.checkpoint"

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        if self.rank:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "average": self.average}
        torch.save(state | {"step": self.step}, partial)
        os.replace(partial, self.checkpoint)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step = state["average"], state["step"]

    def evaluate(self) -> str:
        """What the averaged network does to the held-out crops, in words."""
        network = averaged_network(self.config, {"network": self.network.state_dict(), "average": self.average}).to(self.device)
        crops = [moved(part, self.device) for part in self.pictures.validation_parts(max(4, self.config.batch))]
        with torch.no_grad():
            return network.describe(crops)

    def train(self, log: Callable[[str], None]) -> None:
        """Run to the last step; `log` takes lines of text."""
        config, distributed = self.config, dist.is_initialized()
        parallel = nn.parallel.DistributedDataParallel(self.network) if distributed else self.network
        random = np.random.default_rng((config.seed, self.rank, self.step))
        first, started, pixels = self.step, time.monotonic(), 0
        total, count = torch.zeros((), device=self.device), 0  # of the losses since the last report
        while self.step < config.steps:
            if self.step >= config.quantised_step and not self.network.is_quantised:
                for name, value in self.network.named_parameters():  # the averaged weights are the better starting point
                    value.data.copy_(self.average[name])
                self.network.quantise(self._crops(4, random))
            batch = self._crops(config.batch, random)
            if config.revive_every and self.step % config.revive_every == 0 and self.step < config.steps // 2:
                self.network.restart_dead_codes(batch)
            total += self._update(parallel, batch)
            count += 1
            pixels += places_of(batch) * (dist.get_world_size() if distributed else 1)
            if self.step % config.save_every == 0 or self.step == config.steps:
                self.save()
                if not self.rank:
                    log(f"step {self.step}: held-out {self.evaluate()}")
            if self.step % config.report_every == 0 and not self.rank:
                spent = time.monotonic() - started
                left = (config.steps - self.step) * spent / (self.step - first)
                log(
                    f"step {self.step}/{config.steps}  {float(total) / count / self.network.unit:.4f} {self.network.unit_name}  "
                    f"{pixels / spent / 1e3:.0f} kpixel/s  rate {learning_rate(config, self.step):.1e}  {left / 60:.0f} min left"
                )
                total.zero_()
                count = 0

    def _update(self, parallel: nn.Module, batch: Any) -> Tensor:
        """One step of the optimiser and of the averaged weights; the loss of the batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        loss: Tensor = parallel(batch).mean()
        self.optimiser.zero_grad()
        loss.backward()
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, 1 - 1 / (self.step + 1))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.network.parameters()], 1 - decay)
        return loss.detach()


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
    model = averaged_network(config, state)
    if not model.is_quantised:
        raise ValueError(f"the checkpoint at step {state['step']} is not on integer grids yet; train to the end first")
    weights = out / f"{config.name}.safetensors"
    metadata = {"model": config.model, "about": config.about, "steps": str(state["step"])}
    if "crop" in config.data:
        metadata["side"] = str(config.data["crop"])
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
