"""One image by instruction set: the same bytes whatever instructions libraries may use, and what each set costs.

Processes of their own are held to a set by environment variables, all libraries at once; each compiles kernels of its own at first.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import presage

from ...models import catalogue, choice
from .codecs import LOSSLESS
from .common import read_pixels, timed

REFERENCE = "jxl9"
NATIVE: dict[str, dict[str, str]] = {"as it is": {}}
X86 = {
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt,+sse4.1,+sse4.2,+ssse3,+f16c,+movbe",
    },
    "SSE": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
    },
}


def sets() -> dict[str, dict[str, str]]:
    """Instruction sets that can be asked for on this machine, and the environment variables that do."""
    return NATIVE | (X86 if platform.machine().lower() in ("x86_64", "amd64") else {})


def run(path: Path, model: str, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds of encoding and decoding an image in a running process, by instruction set, and JPEG XL's beside them in the same run.

    Raises RuntimeError if the bytes or the pixels are not everywhere the same.
    """
    pixels = read_pixels(path)
    rows = [{"set": name} | _in_a_process(path, model, threads, repeats, environment) for name, environment in sets().items()]
    for row in rows:
        if row["digest"] != rows[0]["digest"]:
            raise RuntimeError(f"files of {path.name} are not the same with the instructions of {row['set']}")
    codec = LOSSLESS[REFERENCE]
    seconds = None if codec.missing else median(timed(codec.encode, pixels, threads)[1] for _ in range(repeats))
    return {"image": path.name, "model": model, "reference": REFERENCE, "reference_encode_s": seconds, "sets": rows}


def products(model: str) -> dict[str, Any]:
    """Features of the processor, who multiplies for a model here and why, and all who could. Raises ValueError if nothing is right."""
    shapes = choice.shapes_of(load_file(catalogue.find(model).path))
    return asdict(choice.choice(shapes)) | {"processor": choice.described()}


def _in_a_process(path: Path, model: str, threads: int, repeats: int, environment: dict[str, str]) -> dict[str, Any]:
    code = f"from presage.bench.compare.instructions import measure; measure({str(path)!r}, {model!r}, {threads}, {repeats})"
    kept = {name: value for name, value in os.environ.items() if name not in choice.SWITCHES}
    done = subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"a process ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(path: str, model: str, threads: int, repeats: int) -> None:
    """What a process of its own does: measure an image, and print it as JSON."""
    pixels = read_pixels(Path(path))
    data = presage.encode(pixels, model=model, threads=threads)
    if not np.array_equal(np.asarray(presage.decode(data, threads=threads)), pixels):
        raise RuntimeError(f"{path} does not come back as it was")
    facts = {
        "bytes": len(data),
        "digest": hashlib.sha256(data).hexdigest(),
        "encode_s": median(timed(lambda: presage.encode(pixels, model=model, threads=threads))[1] for _ in range(repeats)),
        "decode_s": median(timed(lambda: presage.decode(data, threads=threads))[1] for _ in range(repeats)),
    }
    print(json.dumps(facts | {"processor": choice.described()}))
