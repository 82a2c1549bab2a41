"""The `presage` command. Light: torch, numpy and Pillow are imported by what needs them."""

from __future__ import annotations

import click

from . import images, ordered, sample, sets, tools


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="presage", prog_name="presage")
@click.option(
    "-V", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, _, v: _version(c) if v else None, help="Same as --version."
)
def main() -> None:
    """Presage: a neural image codec whose files decode to the same pixels on every machine."""


def _version(context: click.Context) -> None:
    from importlib.metadata import version

    click.echo(f"presage, version {version('presage')}")
    context.exit()


for command in (
    images.encode,
    images.decode,
    images.info,
    images.verify,
    ordered.truncate,
    sets.pack,
    sets.unpack,
    sample.sample,
    tools.models,
    tools.train,
    tools.bench,
):
    main.add_command(command)
