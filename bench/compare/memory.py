"""Peak memory of one encode and one decode, each in a process of its own.

`python -m presage.bench.compare.memory encode|decode CODEC IMAGE FILE THREADS` does it once, with FILE as the encoded file, and
prints the peak resident memory in bytes, with the interpreter and all libraries; 0 where the system does not say.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from .codecs import LOSSLESS


def measure(codec: str, image: Path, threads: int) -> dict[str, float]:
    """MiB that encoding and decoding an image file take at their peak. Raises RuntimeError if one of them fails."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for direction in ("encode", "decode"):
            command = [sys.executable, "-m", "presage.bench.compare.memory", direction, codec, str(image), f"{folder}/file", str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{codec} {direction} in a process of its own: {done.stderr.strip()}")
            peaks[f"{direction}_mib"] = int(done.stdout) / 2**20
    return peaks


def peak(workers: int) -> int:
    """Bytes that this process and `workers` processes of it have had at once; pages that they share count several times.

    Linux's own count comes first: `ru_maxrss` also remembers the process that this one was forked from.
    """
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():
        own = next((int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")), own)
    return own + workers * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def _main(direction: str, name: str, image: str, file: str, threads: str) -> None:
    codec = LOSSLESS[name]
    if direction == "encode":
        with Image.open(image) as opened:
            pixels = np.asarray(opened)
        Path(file).write_bytes(codec.encode(pixels, int(threads)))
    else:
        codec.decode(Path(file).read_bytes(), int(threads))
    print(peak(int(threads) if name == "presage" else 1))


if __name__ == "__main__":
    _main(*sys.argv[1:])
