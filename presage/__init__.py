"""Presage, a neural image codec whose files decode to the same pixels on every machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from presage.codec.errors import DamagedFile, ImageRefused, LimitExceeded, PresageError, WeightsError
from presage.codec.format.info import info
from presage.codec.limits import Limits
from presage.codec.paths.truncate import truncate
from presage.codec.pillow import register_pillow
from presage.codec.predictive.schedule import Schedule
from presage.codec.settings import Options, Settings
from presage.codec.weights import register_model

if TYPE_CHECKING:
    from presage.codec.api import decode, decode_file, encode, encode_lossy, pack, recover, recover_file, unpack
    from presage.codec.archive.archiving import archive
    from presage.codec.archive.restoring import restore
    from presage.codec.filling import fill
    from presage.codec.previews import preview

__version__ = "0.1.0"
__all__ = [
    "DamagedFile",
    "ImageRefused",
    "LimitExceeded",
    "Limits",
    "Options",
    "PresageError",
    "Schedule",
    "Settings",
    "WeightsError",
    "archive",
    "decode",
    "decode_file",
    "encode",
    "encode_lossy",
    "fill",
    "info",
    "pack",
    "preview",
    "recover",
    "recover_file",
    "register_model",
    "register_pillow",
    "restore",
    "truncate",
    "unpack",
]


_ROOMS = {"archive": "archive.archiving", "restore": "archive.restoring", "fill": "filling", "preview": "previews"}


def __getattr__(name: str) -> Any:
    """What needs torch or Pillow is imported when it is first used, so that the rest of the library starts at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("presage.codec." + _ROOMS.get(name, "api")), name)
