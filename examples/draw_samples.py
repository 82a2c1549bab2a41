"""Pictures drawn from a model by decoding random bits, a sheet for each seed.

python examples/draw_samples.py MODEL FOLDER [SEED...]
"""

import argparse
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="mnist, cifar10, cifar10-latent or cifar10-ordered")
    parser.add_argument("folder", type=Path)
    parser.add_argument("seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--count", type=int, default=16, help="pictures on a sheet")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "presage", "sample", "-m", options.model, "-n", str(options.count), "--force"]
    for seed in options.seeds:
        target = options.folder / f"{options.model}-{seed}.png"
        done = subprocess.run([*command, "--seed", str(seed), "-o", str(target)], check=False)
        if done.returncode:
            sys.exit(done.returncode)
        print(target)
