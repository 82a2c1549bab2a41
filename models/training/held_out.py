"""`python -m presage.models.training.held_out RUN.toml FOLDER [KEY=VALUE...]` writes the held-out pictures of a run as PNG files."""

import sys
from pathlib import Path

from PIL import Image

from .data import DataConfig, Pictures
from .loop import read_run

if __name__ == "__main__":
    pictures, folder = Pictures(DataConfig(**read_run(Path(sys.argv[1]), sys.argv[3:]).data)), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(pictures.validation):
        Image.fromarray(pixels).save(folder / f"held-out-{number:03}.png")
