"""What the arrays of a weights file must be, by its settings: names, types, shapes and ranges. Checked before anything is made of them.

The loops that work with weights do not ask whether a place is inside an array; that it always is, is seen to here. Names are those of
FORMAT.md, sections 4, 8, 9, 10 and 18.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from .ardm.checks import check_order, check_settings
from .ardm.stages import BINS, ArdmConfig
from .flow.plan import CHANNELS as CHANNELS_OF_PATCH
from .flow.plan import EXTRA, unpacked
from .integer import Tensors
from .jpeg import units as jpeg
from .planes.units import KNOWN
from .progressive.rounds import FARTHEST, LOCAL, PARTS, PLANES, ProgressiveConfig
from .progressive.rounds import KINDS as KINDS_OF_POINTS
from .units import CHANNELS, ERROR_LIMIT, HINTS, INPUTS, SIGNED_LIMIT

CELLS = 6  # places whose hidden vectors `photo` sees
MOST = 1 << 13  # of any setting that counts
MOST_TENSORS = 1 << 13
DEEPEST_SCALE = 8  # of a flow
Shapes = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of every array by its name."""
Range = tuple[int, int]

MIXTURE: Shapes = {"tables.inverse": ("int32", (241,)), "tables.sigmoid": ("int32", (8192,)), "tables.share": ("int32", (513,))}
CONTEXT: Shapes = {"tables.signed": ("int8", (2 * SIGNED_LIMIT + 1,)), "tables.error": ("int8", (ERROR_LIMIT + 1,))}
CATEGORY: Shapes = {"tables.category": ("int32", (1025,))}
RANGES: dict[str, Range] = {
    "tables.inverse": (0, 1 << 16),
    "tables.sigmoid": (0, 1 << 16),
    "tables.share": (0, 1 << 12),
    "tables.category": (0, 1 << 16),
    "tables.signed": (-127, 127),
    "tables.mean": (-127, 127),
    "tables.edge": (-127, 127),
    "tables.initial": (0, 32767),
    "tables.compand": (0, 127),
    "bases": (-(1 << 12), 1 << 12),
    "tables.attention": (0, 255),
    "tables.gate": (0, 256),
    "up_bits": (0, 23),
    "left_bits": (0, 23),
    "block_bits": (0, 23),
    "last_bits": (0, 23),
    "stream_bits": (0, 23),
}


def check(kind: str, tensors: Tensors) -> None:
    """Raises ValueError, KeyError or TypeError for arrays that are not those of a model of a shipped kind."""
    if len(tensors) > MOST_TENSORS:
        raise ValueError(f"{len(tensors)} arrays are too many")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} has what is no number")
    KINDS[kind](tensors)


def _layer(outputs: int, inputs: int, skip: bool = False) -> Callable[[str], Shapes]:
    """The arrays of a dense layer, by its name."""
    parts: Shapes = {part: ("int32", (outputs,)) for part in ("bias", "shift", *(["skip"] * skip))}
    parts["weight"] = ("int8", (outputs, inputs))
    return lambda name: {f"{name}.{part}": about for part, about in parts.items()}


def _compare(tensors: Tensors, wanted: Shapes, prefix: str = "") -> None:
    """That arrays are there as they should be, their values in range, and no other layer. Raises ValueError."""
    for name, (kind, shape) in wanted.items():
        array = tensors.get(prefix + name)
        if array is None or array.dtype.name != kind or array.shape != shape:
            found = "missing" if array is None else f"{array.dtype.name} {list(array.shape)}"
            raise ValueError(f"{prefix + name} is {found}, and should be {kind} {list(shape)}")
        low, high = RANGES.get(name, (0, 23) if name.endswith((".shift", ".skip")) else (-(1 << 31), 1 << 31))
        if array.size and (int(array.min()) < low or int(array.max()) > high):
            raise ValueError(f"{prefix + name} has values that are not in {low} ... {high}")
        if name in ("tables.share", "tables.category", "tables.attention") and int(array[0]) < 1:
            raise ValueError(f"{prefix + name} begins with nothing")
        if name == "tables.sigmoid" and (np.diff(array) < 0).any():
            raise ValueError(f"{prefix + name} falls")
    own = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
    for name in sorted(own - set(wanted)):
        if name.endswith((".shift", ".weight")) and name.split(".")[0] in {wanted.split(".")[0] for wanted in wanted}:
            raise ValueError(f"there is no layer {prefix + name}")


def _settings(tensors: Tensors, name: str, counts: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a network, of which some are counts: from 0 to what arrays could have. Raises ValueError."""
    try:
        settings = json.loads(np.asarray(tensors[name]).tobytes())
    except RecursionError:
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(f"{name} is no JSON object")
    for key in counts:
        value = settings.get(key, 0)
        if type(value) is not int or not 0 <= value <= MOST:
            raise ValueError(f"{name} says {key} = {str(value)[:40]!r}")
    for key in ("blocks", "fine_blocks"):
        if settings.get(key, 0) > len(tensors):
            raise ValueError(f"{name} says {key} = {settings[key]}, and there are {len(tensors)} arrays")
    return settings


def _local(tensors: Tensors, head: str, out: str, told: int) -> tuple[int, int, int, Shapes]:
    """Width, head, outputs and arrays but for the heads of a network that sees causal contexts, and `told` numbers more."""
    hidden, width, inner, outputs = (tensors[f"{n}.bias"].size for n in ("cell.1", "trunk", head, out))
    if outputs % 3 or not 3 <= outputs <= 21 or max(hidden, width, inner) > MOST or min(hidden, width, inner) < 1:
        raise ValueError(f"{outputs} outputs of layers of {hidden}, {width} and {inner}")
    wanted = _layer(hidden, INPUTS + CHANNELS)("cell.0") | _layer(hidden, hidden)("cell.1")
    wanted |= _layer(width, INPUTS + told + CELLS * hidden)("trunk")
    for name in sorted({match[0] for match in (re.match(r"blocks\.\d+", name) for name in tensors) if match}):
        wanted |= _layer(width, width, skip=True)(name)
    return width, inner, outputs, wanted | MIXTURE | CONTEXT


def _photo(tensors: Tensors) -> None:
    width, head, outputs, wanted = _local(tensors, "heads.0", "outs.0", 0)
    for c in range(CHANNELS):
        wanted |= _layer(head, width + HINTS * c)(f"heads.{c}") | _layer(outputs, head)(f"outs.{c}")
    _compare(tensors, wanted)


def _planes(tensors: Tensors) -> None:
    width, head, outputs, wanted = _local(tensors, "head", "out", KNOWN)
    _compare(tensors, wanted | _layer(head, width)("head") | _layer(outputs, head)("out"))


PIXELCNN_COUNTS = ("channels", "levels", "patch", "slope", "width", "blocks", "head", "mixtures", "embedding", "zero", "qualities")
FORECAST_COUNTS = ("forecast_steps", "forecast_filters")


def _pixelcnn(tensors: Tensors, prefix: str = "") -> dict[str, Any]:
    """Raises ValueError; returns the settings."""
    c = _settings(tensors, f"{prefix}config", PIXELCNN_COUNTS + FORECAST_COUNTS)
    channels, levels, width, head, slope, blocks = (c[key] for key in ("channels", "levels", "width", "head", "slope", "blocks"))
    relative, mixture, qualities = c["context"] == "relative", c["output"] == "mixture", c.get("qualities", 0)
    sound = 1 <= channels <= 256 and 2 <= levels <= 256 and 1 <= c["patch"] <= 16 and width and head and slope <= 16 and qualities <= 256
    if not sound or (not c.get("latents") and 256 % levels) or not 1 <= c["mixtures"] <= 7 or c.get("zero", 0) >= 256:
        raise ValueError(f"{prefix}config says what no model of symbols is")
    seen, hints = (INPUTS + CHANNELS, HINTS) if relative else (channels * c["embedding"], c["embedding"])
    own = INPUTS if relative else 16 * bool(qualities)
    first_up = 3 if relative else sum(min(2, slope * k - 1 if slope else 2) + 3 for k in (1, 2))
    outputs = 3 * c["mixtures"] if mixture else levels
    wanted = _layer(width, first_up * seen)("first_up") | _layer(width, (1 if relative else 3) * seen + own + width)("first")
    for i in range(blocks):
        wanted |= _layer(2 * width, (min(2, slope) + 4 if slope else 6) * width)(f"up.{i}") | _layer(2 * width, 5 * width)(f"left.{i}")
    for i in range(channels):
        wanted |= _layer(head, width + i * hints)(f"heads.{i}") | _layer(outputs, head)(f"outs.{i}")
    wanted |= {"tables.gate": ("int32", (256,)), "up_bits": ("int32", (blocks + 1,)), "left_bits": ("int32", (blocks + 1,))}
    wanted |= {"stream_bits": ("int32", ())} | (MIXTURE if mixture else CATEGORY)
    wanted |= CONTEXT if relative else {"embedding": ("int8", (channels, levels, c["embedding"]))}
    if qualities:
        wanted["conditions"] = ("int8", (qualities, 16))
    for kind in c.get("forecasters", ()):
        noise = {"h+quantile": 1, "h+gumbel": levels}.get(kind, 0)
        shape = c["forecast_filters"], 4 * (seen if kind == "x" else width) + c["forecast_steps"] * channels * noise
        name, last = f"forecasters.{str(kind).replace('+', '_')}", c["forecast_steps"] * channels * outputs
        wanted |= {f"{name}.first.weight": ("float16", shape), f"{name}.first.bias": ("float16", shape[:1])}
        wanted |= {f"{name}.last.weight": ("float16", (last, shape[0])), f"{name}.last.bias": ("float16", (last,))}
    _compare(tensors, wanted, prefix)
    return c


def _small(tensors: Tensors, c: Mapping[str, Any]) -> None:
    """That the transforms' layers of these widths can be in the file: what is made for them is in proportion to it. Raises ValueError."""
    numbers = sum(array.size for array in tensors.values())
    if max(c["width"] ** 2, c["fine_width"] ** 2 if c.get("fine_blocks") else 0, 192 * c["channels"]) > 2 * numbers + (1 << 16):
        raise ValueError("config says wider layers than there are")


def _latent(tensors: Tensors) -> None:
    c = _settings(tensors, "config", ("channels", "levels", "width", "fine_width", "fine_blocks", "blocks"))
    _small(tensors, c)
    prior = _pixelcnn(tensors, "prior.")
    steps = c["quantiser"] == "steps"
    wanted = [c["channels"], c["levels"], True, 120 if steps else 0, 256 if steps else 0, 1]
    found = [prior.get(key) for key in ("channels", "levels", "latents", "zero", "qualities", "patch")]
    if found != wanted or (steps and c["levels"] != 256):
        raise ValueError("the prior is not one of these latents")


def _ordered(tensors: Tensors) -> None:
    c = _settings(tensors, "config", ("channels", "width", "fine_width", "fine_blocks", "blocks", "patch", "entries"))
    _small(tensors, c)
    counts = ("entries", "width", "blocks", "heads", "head", "hidden", "embedding")
    p = _settings(tensors, "prior.config", counts)
    sides, shared, width, inner = p["sides"], p["shared"], p["width"], p["heads"] * p["head"]
    numbers = isinstance(sides, list) and 1 <= len(sides) <= 4096 and all(type(side) is int and 1 <= side <= 64 for side in sides)
    if not numbers or not all(b in (a, a / 2) for a, b in pairwise(sides)) or p["entries"] != c["entries"] or not p["entries"]:
        raise ValueError("prior.config says what no ordered codes are")
    taps, books = 9 if p["neighbours"] else 1, 1 if shared else len(sides)
    size = c["patch"] ** 2 if c["design"] == "leaky" else 4
    wanted: Shapes = {"embedding": ("int8", (books, p["entries"], p["embedding"])), "tables.attention": ("int32", (257,))}
    wanted |= {"block_bits": ("int32", (p["blocks"], 3)), "last_bits": ("int32", ())} | CATEGORY
    for layer in range(len(sides)):
        wanted |= _layer(width, taps * p["embedding"] + 4)(f"ins.{layer}")
    for i in range(books):
        wanted |= _layer(p["entries"], width)(f"outs.{i}")
    for i in range(p["blocks"]):
        wanted |= _layer(3 * inner, width)(f"blocks.{i}.qkv") | _layer(width, inner)(f"blocks.{i}.out")
        wanted |= _layer(p["hidden"], taps * width)(f"blocks.{i}.mix") | _layer(width, p["hidden"])(f"blocks.{i}.back")
    _compare(tensors, wanted, "prior.")
    _compare(tensors, {"codebooks": ("float16", (books, p["entries"], size)), "prices": ("float32", (len(sides),))})
    if c["design"] == "residual":
        layers = c["layers"]
        pairs = [isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in layers]
        if not all(pairs) or len(layers) != len(sides):
            raise ValueError("config says other layers than the prior")


def _jpeg(tensors: Tensors) -> None:
    wanted: Shapes = {
        "tables.signed": ("int8", (2 * jpeg.MAGNITUDE + 1,)),
        "tables.mean": ("int8", (32768,)),
        "tables.edge": ("int8", (2 * jpeg.EDGE_LIMIT + 1,)),
        "tables.initial": ("int16", (128,)),
    }
    for kind, inputs in (("first", jpeg.OWN), ("later", jpeg.OWN + jpeg.SIDE)):
        told, width, head = (tensors[f"{kind}.{name}.bias"].size for name in ("condition", "trunk", "last_head"))
        if min(told, width, head) < 1 or max(told, width, head) > MOST or width % 2:
            raise ValueError(f"layers of {told}, {width} and {head}")
        parts = _layer(told, jpeg.CONDITION)("condition") | _layer(width, inputs + told)("trunk") | _layer(head, width + told)("last_head")
        parts |= _layer(16, head)("last_out") | _layer(16 << jpeg.LOW, head)("low_out")
        for name in sorted({match[1] for match in (re.match(rf"{kind}\.(blocks\.\d+)\.", name) for name in tensors) if match}):
            parts |= _layer(width, width, skip=True)(name)
        for g, (a, b) in enumerate(jpeg.GROUPS):
            parts |= _layer(head, width + told + jpeg.LAST_SEEN + jpeg.EDGES + 2 * (64 - b))(f"heads.{g}")
            parts |= _layer(16 * (b - a), head)(f"outs.{g}") | _layer(16 * (b - a), head)(f"classes.{g}")
        wanted |= {f"{kind}.{name}": about for name, about in parts.items()}
    _compare(tensors, wanted | CATEGORY)


def _progressive(tensors: Tensors) -> None:
    c = _settings(tensors, "config", ("quality", "smooth", "width", "narrow", "head"))
    lists = [c[name] for name in ("tops", "order", "sizes")]
    if not all(isinstance(part, list) and all(type(number) is int for number in part) for part in lists) or c["quality"] > 255:
        raise ValueError("config says what no digits of latents are")
    if type(c["late"]) is not int or abs(c["late"]) > 1 << 10:
        raise ValueError("config says what no digits of latents are")
    known = ProgressiveConfig(**c)
    t, rounds, channels = c["transforms"], len(known.rounds()), known.channels
    counts = ("channels", "width", "fine_width", "fine_blocks", "blocks")
    if not isinstance(t, dict) or t.get("channels") != channels or not all(type(t.get(n)) is int and 0 < t[n] <= MOST for n in counts):
        raise ValueError("config says what no transforms are")
    if set(t) != set(counts) or max(t["blocks"], t["fine_blocks"]) > len(tensors):
        raise ValueError("config says what no transforms are")
    _small(tensors, t)
    width, narrow, head = c["width"], c["narrow"], c["head"]
    wanted = (
        _layer(width, 9 * 2 * channels + rounds)("first") | _layer(narrow, width)("narrow") | _layer(width, 9 * narrow + width)("second")
    )
    for channel in range(channels):
        wanted |= _layer(head, width + LOCAL)(f"heads.{channel}") | _layer(PARTS, head)(f"outs.{channel}")
    wanted |= {
        "bases": ("int32", (rounds, channels, PARTS)),
        "tables.compand": ("int8", (PLANES, FARTHEST + 1)),
        "tables.sigmoid": MIXTURE["tables.sigmoid"],
    }
    _compare(tensors, wanted)
    _compare(tensors, {"points": ("float32", (PLANES, channels, KINDS_OF_POINTS)), "precision": ("float32", (rounds + 1,))})


def _flow(tensors: Tensors) -> None:
    plan = tensors["plan"]
    if plan.dtype != np.int8 or plan.ndim != 2 or plan.shape[1] != 2 + CHANNELS_OF_PATCH or not 1 <= len(plan) <= len(tensors):
        raise ValueError("plan is no table of layers")
    steps, outputs = unpacked(plan), tensors["last"].shape[-1]
    if outputs % 3 or not 3 <= outputs <= 21 or steps[-1].scale >= DEEPEST_SCALE:
        raise ValueError(f"{outputs} outputs, {steps[-1].scale + 1} scales")
    wanted: Shapes = {"last": ("int32", (CHANNELS, outputs)), "tables.signed": CONTEXT["tables.signed"]} | MIXTURE
    for i, step in enumerate(steps):
        name = f"layers.{i}"
        width, head = (tensors[f"{name}.{part}.bias"].size for part in ("first", "head"))
        if not (1 <= width <= MOST and 1 <= head <= MOST):
            raise ValueError(f"{name} has layers of {width} and {head}")
        wanted |= _layer(width, 9 * len(step.given) + EXTRA)(f"{name}.first") | _layer(head, width)(f"{name}.head")
        wanted |= _layer(len(step.changed) * (outputs if step.codes else 1), head)(f"{name}.out")
        block = 0
        while f"{name}.blocks.{block}.weight" in tensors:
            wanted |= _layer(width, 9 * width, skip=True)(f"{name}.blocks.{block}")
            block += 1
    _compare(tensors, wanted)


def _ardm(tensors: Tensors) -> None:
    c = _settings(tensors, "config", ("patch", "width", "head", "mixtures", "side", "seed"))
    check_settings(c)
    check_order(tensors, c)
    known = ArdmConfig(**c)
    wanted = _layer(c["width"], 9 * known.inputs)("first") | _layer(c["head"], c["width"])("head") | _layer(known.outputs, c["head"])("out")
    for i in range(len(known.steps)):
        wanted |= _layer(c["width"], 9 * c["width"], skip=True)(f"blocks.{i}")
    _compare(tensors, wanted | MIXTURE | {"tables.signed": CONTEXT["tables.signed"], "components": ("int32", (len(known.stages), BINS))})


KINDS: dict[str, Callable[[Tensors], Any]] = {
    "photo": _photo,
    "planes": _planes,
    "pixelcnn": _pixelcnn,
    "latent": _latent,
    "ordered": _ordered,
    "jpeg": _jpeg,
    "progressive": _progressive,
    "flow": _flow,
    "ardm": _ardm,
}
