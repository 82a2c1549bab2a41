"""The `presage` command. Light: torch, numpy and Pillow are imported by what needs them."""

from __future__ import annotations

import click

from . import archives, fill, images, ordered, preview, sample, sets, tools


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="presage", prog_name="presage")
def main() -> None:
    """Presage: a neural image codec whose files decode to the same pixels on every machine."""


for command in (
    images.encode,
    images.decode,
    images.info,
    images.verify,
    archives.archive,
    archives.restore,
    preview.preview,
    ordered.truncate,
    sets.pack,
    sets.unpack,
    sample.sample,
    fill.fill,
    tools.models,
    tools.train,
    tools.bench,
):
    main.add_command(command)
