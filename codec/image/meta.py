"""The section META: what of an image's resolution and transparency is kept, as a JSON object with a schema."""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import DamagedFile

MOST_DPI = 1e8  # a PNG file holds little more
DEEPEST = 1 << 16  # of grey levels


def kept(info: Mapping[Any, Any], mode: str) -> dict[str, Any]:
    """What is kept of Pillow's `info` of an image; what is not of the schema, or of no use in its mode, is left out."""
    found: dict[str, Any] = {}
    transparency = info.get("transparency")
    if isinstance(transparency, bytes):
        transparency = transparency.hex()
    elif isinstance(transparency, tuple):
        transparency = list(transparency)
    if transparency is not None and _fits(transparency, mode):
        found["transparency"] = transparency
    try:
        dpi = [float(value) for value in info.get("dpi", ())]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        dpi = []
    if _is_dpi(dpi):
        found["dpi"] = dpi
    return found


def restored(meta: bytes, mode: str) -> dict[str, Any]:
    """The inverse: entries of Pillow's `info`. Raises DamagedFile for a section that does not follow the schema."""
    try:
        values = json.loads(meta)
    except (ValueError, RecursionError):
        values = None
    transparency, dpi = (values.get("transparency"), values.get("dpi")) if isinstance(values, dict) else (0, None)
    if not isinstance(values, dict) or not (dpi is None or _is_dpi(dpi)) or not (transparency is None or _is_transparency(transparency)):
        raise DamagedFile("the section META is not what this format allows")
    info: dict[str, Any] = {} if dpi is None else {"dpi": tuple(dpi)}
    if transparency is not None and _fits(transparency, mode):
        info["transparency"] = transparency
        if isinstance(transparency, str):
            info["transparency"] = bytes.fromhex(transparency)
        elif isinstance(transparency, list):
            info["transparency"] = tuple(transparency)
    return info


def _is_level(value: Any) -> bool:
    return type(value) is int and 0 <= value < DEEPEST


def _is_transparency(value: Any) -> bool:
    """Hexadecimal text of opacities of a palette's entries, a level or entry, or three levels."""
    if isinstance(value, str):
        return 0 < len(value) <= 2 * 256 and len(value) % 2 == 0 and all(letter in "0123456789abcdef" for letter in value)
    return _is_level(value) or (isinstance(value, list) and len(value) == 3 and all(map(_is_level, value)))


def _fits(value: Any, mode: str) -> bool:
    """Whether a transparency is one of images of a mode."""
    if not _is_transparency(value) or mode in ("LA", "RGBA"):
        return False
    if isinstance(value, list):
        return mode == "RGB"
    return mode == "P" and (isinstance(value, str) or value < 256) if mode in ("P", "RGB") or isinstance(value, str) else True


def _is_dpi(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) and 0 <= v <= MOST_DPI for v in value)
