"""One file of a tree as a .psg file, and back. What does not come back as promised is not kept in this way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .. import api
from ..errors import DamagedFile, ImageRefused, PresageError, WeightsError
from ..format.info import info
from ..format.jpeg import is_jpeg
from ..image import files, stored
from ..settings import Options, Settings
from . import form
from .manifest import Entry

T = TypeVar("T")


class BetterCopied(PresageError):
    """A file that is kept as it is; the message says why. bug: Presage should have been able to code it."""

    def __init__(self, why: str, bug: bool = False, facts: dict[str, Any] | None = None) -> None:
        super().__init__(why)
        self.bug, self.facts = bug, facts or {}


@dataclass
class Coded:
    """A .psg file, with fields of its entry."""

    data: bytes
    facts: dict[str, Any] = field(default_factory=dict)


class _Clock:
    """Seconds in the codec."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += time.perf_counter() - started


def coded(source: bytes, name: str, exact: bool, model: str, settings: Settings) -> Coded:
    """The .psg file of a file, decoded and compared. exact: only if the very file comes back.

    Raises BetterCopied, and WeightsError.
    """
    clock = _Clock()
    facts: dict[str, Any] = {}
    try:
        made = _jpeg(source, settings, clock) if is_jpeg(source) else _picture(source, name, exact, model, settings, clock, facts)
    except (BetterCopied, WeightsError):
        raise
    except ImageRefused as refused:
        raise BetterCopied(str(refused).removeprefix(f"{name}: "), facts=facts) from None
    except MemoryError:
        raise BetterCopied("not enough memory", facts=facts) from None
    except Exception as error:  # whatever happens, the file is kept
        raise BetterCopied(f"{type(error).__name__}: {error} (please report it)", True, facts) from error
    said = info(made.data)
    made.facts |= {name: said[name] for name in ("coding", "model", "width", "height") if name in said}
    made.facts["codec_seconds"] = round(clock.seconds, 4)
    return made


def _jpeg(source: bytes, settings: Settings, clock: _Clock) -> Coded:
    data = clock(lambda: api.encode_jpeg(source, api.DEFAULT_MODEL, 0, settings))
    _check_smaller(source, len(data))
    if clock(lambda: api.decode_file(data, **_options(settings))) != source:
        raise BetterCopied("what was encoded does not decode to the JPEG file (please report it)", True)
    return Coded(data, {"promise": "bytes"})


def _picture(source: bytes, name: str, exact: bool, model: str, settings: Settings, clock: _Clock, facts: dict[str, Any]) -> Coded:
    picture = files.read(source, name, settings.limits)
    image = picture.image
    facts |= {"width": image.width, "height": image.height}
    if picture.verbatim is not None:
        return _deep(picture, source, exact, model, settings, clock)
    around = form.find(source, image)
    if around is None:
        raise BetterCopied("its pixels are compressed with loss, or in a way that is not made anew")
    if exact and not around.exact:
        raise BetterCopied("its bytes would not come back")
    try:
        if not around.exact:
            form.file(image.crop((0, 0, 1, 1)), around, form.FAST)  # whether such files are made at all
    except DamagedFile as other:
        raise BetterCopied(str(other)) from None
    data = clock(lambda: api.encode_picture(picture, model, 0, settings))
    text = around.text()
    _check_smaller(source, len(data) + len(text))
    decoded = clock(lambda: api.decode(data, **_options(settings)))
    made = form.file(decoded, around, form.FAST)
    if around.exact and made != source:
        raise BetterCopied("what was encoded does not decode to the file (please report it)", True)
    digest = "" if around.exact else pixels_of(picture)
    if not around.exact and pixels_of(files.read(made, name, settings.limits)) != digest:
        raise BetterCopied("what was encoded does not decode to the picture (please report it)", True)
    return Coded(data, {"promise": "bytes" if around.exact else "pixels", "form": text, "pixels": digest})


def _deep(picture: files.Picture, source: bytes, exact: bool, model: str, settings: Settings, clock: _Clock) -> Coded:
    """A PNG in colour with 16 bits a channel, of which samples and all other chunks come back."""
    if exact:
        raise BetterCopied("its bytes would not come back")
    data = clock(lambda: api.encode_picture(picture, model, 0, settings))
    _check_smaller(source, len(data) + len(form.DEEP))
    if not stored.same_deep(clock(lambda: api.source_file(data, settings.limits)), source):
        raise BetterCopied("what was encoded does not decode to the picture (please report it)", True)
    return Coded(data, {"promise": "pixels", "form": form.DEEP, "pixels": pixels_of(picture)})


def _check_smaller(source: bytes, size: int) -> None:
    if size >= len(source):
        raise BetterCopied("smaller as it is")


def _options(settings: Settings) -> Options:
    """Settings as options of the library's functions."""
    options: Options = {"threads": settings.threads, "arithmetic": settings.arithmetic, "device": settings.device}
    return options | {"model_path": settings.model_path, "limits": settings.limits, "progress": settings.progress}


def back(data: bytes, entry: Entry, settings: Settings) -> bytes:
    """The file that a .psg file was made of, as its entry promises. Raises DamagedFile and WeightsError."""
    if not entry.form:
        made = api.decode_file(data, **_options(settings))
    elif entry.form == form.DEEP:
        made = api.source_file(data, settings.limits) or b""
    else:
        made = form.file(api.decode(data, **_options(settings)), form.parse(entry.form))
    if entry.promise == "bytes":
        same = hashlib.sha256(made).hexdigest() == entry.sha256
    else:
        same = pixels_of(files.read(made, entry.path, settings.limits)) == entry.pixels
    if not same:
        raise DamagedFile("what was decoded is not what was archived")
    return made


def pixels_of(picture: files.Picture) -> str:
    """SHA-256, in hexadecimal, of mode, size, pixels and palette; of more than 8 bits in colour also of all bits. Raises DamagedFile."""
    image = picture.image
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    if image.mode == "P":
        digest.update(image.convert("RGB").tobytes())
    if picture.verbatim is not None:
        digest.update(stored.deep_samples(picture.verbatim))
    return digest.hexdigest()
