"""What kinds of files there are: modes of images, codings, names of sections, and which of these go together. Standard library only."""

from enum import IntEnum


class Mode(IntEnum):
    """The kinds of image, by Pillow's name in PIL_MODES."""

    BILEVEL = 1
    GRAY = 2
    GRAY_ALPHA = 3
    PALETTE = 4
    RGB = 5
    RGBA = 6
    GRAY16 = 7
    CMYK = 8


PIL_MODES = {
    Mode.BILEVEL: "1",
    Mode.GRAY: "L",
    Mode.GRAY_ALPHA: "LA",
    Mode.PALETTE: "P",
    Mode.RGB: "RGB",
    Mode.RGBA: "RGBA",
    Mode.GRAY16: "I;16",
    Mode.CMYK: "CMYK",
}


class Coding(IntEnum):
    """How the pixels are coded."""

    STORED = 0  # a conventional lossless coder
    COLOUR = 1  # a model's wavefront in tiles, one ANS stream a tile
    GRAY = 2  # the same, of G alone: R = B = G
    CHAIN = 3  # a model's symbols in groups of tiles, one chain stream a group
    SET = 4  # many images in such groups
    LATENT = 5  # latents of an autoencoder, with loss: in tiles as 1, or in groups as 3
    LATENT_SET = 6  # many images, with loss, in groups
    ORDERED = 7  # ordered codes, with loss, in a stream that may be cut anywhere
    PLANES = 8  # luma and chroma planes that the pixels come from, each in tiles as 1
    JPEG = 9  # a JPEG file, by its coefficients in tiles of blocks, or whole
    RECOGNISED = 10  # pixels that a JPEG decoder gave, by the coefficients that they came from, and corrections
    DIGITS = 11  # latents of an autoencoder, with loss, digit by digit in a stream that may be cut anywhere
    STAGED = 12  # a model's values some bits at a time, in as many calls as the encoder liked; may be cut behind the first bits
    STAGED_SET = 13  # many images in such groups of tiles
    FLOW = 14  # what an integer flow makes of the pixels, in tiles, one ANS stream for some of them
    FLOW_SET = 15  # many images in such tiles


CODED_MODES = {
    Coding.STORED: tuple(Mode),
    Coding.COLOUR: (Mode.RGB, Mode.RGBA),
    Coding.GRAY: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.CHAIN: (Mode.BILEVEL, Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.SET: (Mode.BILEVEL, Mode.GRAY, Mode.RGB),
    Coding.LATENT: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.LATENT_SET: (Mode.GRAY, Mode.RGB),
    Coding.ORDERED: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.PLANES: (Mode.RGB, Mode.RGBA),
    Coding.JPEG: (Mode.GRAY, Mode.RGB, Mode.CMYK),
    Coding.RECOGNISED: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.DIGITS: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.FLOW: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.FLOW_SET: (Mode.GRAY, Mode.RGB),
    Coding.STAGED: (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA),
    Coding.STAGED_SET: (Mode.GRAY, Mode.RGB),
}
SETS = (Coding.SET, Coding.LATENT_SET, Coding.FLOW_SET, Coding.STAGED_SET)
ALPHA_MODES = (Mode.GRAY_ALPHA, Mode.RGBA)
LOSSY = (Coding.LATENT, Coding.LATENT_SET, Coding.ORDERED, Coding.DIGITS)
CUT = (Coding.ORDERED, Coding.DIGITS)
"""Files that may be cut anywhere after their header."""
STAGED = (Coding.STAGED, Coding.STAGED_SET)
"""Files that may be cut anywhere behind their first stage, if there are several."""


class Tag:
    """Names of the sections."""

    STORED = b"STOR"  # a conventional image file of the pixels
    SOURCE = b"FILE"  # the source PNG itself, where it has more bits than Pillow reads, or a JPEG file as it is
    SAMPLES = b"SAMP"  # the samples by our own conventional coder, where PNG holds none such or codes them badly
    CHUNKS = b"PNGC"  # of a PNG in colour with 16 bits a channel: the file without its pixels, which are in SAMPLES
    TILE_INDEX = b"TIDX"  # TILE_ENTRY for every tile
    LEVELS = b"LEVL"  # which levels each channel has, if not all; tiles then hold places among these
    TILES = b"TILE"  # the streams; each has its own CRC in the index, the section has none
    GROUP_INDEX = b"GIDX"  # GROUP_HEAD, then GROUP_ENTRY for every group
    GROUPS = b"GRPS"  # the chain streams; each has its own CRC in the index, the section has none
    STAGE_INDEX = b"SIDX"  # calls, stages and tiles of a group; then bytes and CRC of the stream of every stage and group
    STAGES = b"STGS"  # the streams; the last section. Each has its own CRC in the index, the section has none
    ORIGIN = b"ORIG"  # planes: how pixels come from them, and the pixels that do not
    LATENTS = b"LATN"  # the quality, and what every channel of the latents holds
    LAYERS = b"LAYR"  # ordered codes: LAYERS_ENTRY for every run of layers whose patches are of one size
    CODES = b"CODE"  # ordered codes, or digits: the chunks; the last section, without a CRC of its own, because it may be cut
    RECORD = b"JPEG"  # bytes of a JPEG file, and everything that its coefficients do not say
    PROFILES = b"COEF"  # what the model is told of each component
    DECODER = b"DECO"  # how pixels come from coefficients, and what is corrected then
    REASON = b"WHYS"  # why a JPEG file is kept as it is
    LIST = b"LIST"  # zlib: JSON with the names, sizes and checksums of a set's images
    ALPHA = b"ALPH"  # the alpha channel as a conventional gray image file
    ICC = b"ICCP"
    EXIF = b"EXIF"
    XMP = b"XMPP"
    META = b"META"  # JSON: transparency, dpi
    PREVIEW = b"PREV"  # a small picture with loss, and how to turn it; in front of all others
    CHECKED_BY_PARTS = (TILES, GROUPS, CODES, STAGES)
    BESIDE = (ALPHA, ICC, EXIF, XMP, META)


_CODED = {
    Coding.STORED: (Tag.STORED, Tag.SOURCE, Tag.SAMPLES, Tag.CHUNKS),
    Coding.COLOUR: (Tag.LEVELS, Tag.TILE_INDEX, Tag.TILES),
    Coding.GRAY: (Tag.LEVELS, Tag.TILE_INDEX, Tag.TILES),
    Coding.CHAIN: (Tag.GROUP_INDEX, Tag.GROUPS),
    Coding.SET: (Tag.LIST, Tag.GROUP_INDEX, Tag.GROUPS),
    Coding.LATENT: (Tag.LATENTS, Tag.TILE_INDEX, Tag.TILES, Tag.GROUP_INDEX, Tag.GROUPS),
    Coding.LATENT_SET: (Tag.LIST, Tag.LATENTS, Tag.GROUP_INDEX, Tag.GROUPS),
    Coding.ORDERED: (Tag.LAYERS, Tag.CODES),
    Coding.PLANES: (Tag.ORIGIN, Tag.TILE_INDEX, Tag.TILES),
    Coding.JPEG: (Tag.RECORD, Tag.PROFILES, Tag.TILE_INDEX, Tag.TILES, Tag.SOURCE, Tag.REASON),
    Coding.RECOGNISED: (Tag.DECODER, Tag.PROFILES, Tag.TILE_INDEX, Tag.TILES),
    Coding.DIGITS: (Tag.CODES,),
    Coding.FLOW: (Tag.TILE_INDEX, Tag.TILES),
    Coding.FLOW_SET: (Tag.LIST, Tag.TILE_INDEX, Tag.TILES),
    Coding.STAGED: (Tag.STAGE_INDEX, Tag.STAGES),
    Coding.STAGED_SET: (Tag.LIST, Tag.STAGE_INDEX, Tag.STAGES),
}
_ALL = {tag for tags in _CODED.values() for tag in tags} | {*Tag.BESIDE, Tag.PREVIEW}


def belongs(tag: bytes, coding: Coding, mode: Mode) -> bool | None:
    """Whether files of a coding and mode have a section of that name; None for names that are unknown here."""
    if tag not in _ALL:
        return None
    if tag == Tag.PREVIEW:
        return coding not in SETS
    if tag == Tag.ALPHA:
        return mode in ALPHA_MODES and coding != Coding.STORED and coding not in SETS
    return tag in _CODED[coding] or (tag in Tag.BESIDE and coding not in (*SETS, Coding.JPEG))
