"""Presage, a neural image codec whose files decode to the same pixels on every machine."""

from presage.codec.api import decode, encode, info, recover
from presage.codec.errors import DamagedFile, ImageRefused, PresageError, WeightsError
from presage.codec.paths.sets import pack, unpack
from presage.codec.paths.target import encode_lossy, truncate
from presage.codec.pillow import register_pillow
from presage.codec.predictive.schedule import Schedule

__version__ = "0.1.0"
__all__ = [
    "DamagedFile",
    "ImageRefused",
    "PresageError",
    "Schedule",
    "WeightsError",
    "decode",
    "encode",
    "encode_lossy",
    "info",
    "pack",
    "recover",
    "register_pillow",
    "truncate",
    "unpack",
]
