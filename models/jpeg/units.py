"""Order and numbers of the symbols that stand for a block's coefficients. Standard library only.

A block's coefficients are counted along the zigzag, 0 is DC. Its symbols, in their order: the place of the last coefficient that is not 0
(0 if none of AC is), then the coefficients in groups, from high frequencies to low ones, DC last: of each group one token for every
coefficient up to the last one, and for the tokens of what is far from `near` a class and the remainder within the class, four bits at
a time from the top.
"""

ZIGZAG = tuple(v * 8 + d - v for d in range(15) for v in (range(d + 1) if d % 2 else range(d, -1, -1)) if 0 <= v < 8 and 0 <= d - v < 8)
"""Place 8 v + u of the coefficient of vertical frequency v and horizontal frequency u, in zigzag order."""
GROUPS = ((49, 64), (43, 49), (36, 43), (28, 36), (21, 28), (15, 21), (10, 15), (6, 10), (3, 6), (1, 3), (0, 1))
"""First and past-the-last zigzag place of each group: diagonals of equal v + u, of which the last five are one group."""

TOKEN, CLASS, REMAINDER = range(3)
"""What a turn of a group asks for; of remainders there are PIECES."""
PIECES = 5
LAST = 0
PER_GROUP = 2 + PIECES
LOW = 2  # bits of a last place that its low symbol says
NEAR = 6  # tokens 1..13 are differences -6..6 from `near`; 0 and 14 are smaller and larger ones
LESS, MORE = 0, 2 * NEAR + 2
CLASSES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 768)
"""First of each class of |difference| - NEAR - 1."""
CLASS_BITS = (0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 7, 9, 17)
"""Bits of the remainder in each class."""
LIMIT = 32768  # of a coefficient
DIAGONALS = (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
"""Of the groups, the smallest v + u."""

# neighbours and what is remembered of them (features.py)
AROUND = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
"""(rows, columns) to the blocks that are seen: W N NW NE WW NN. All belong to earlier steps of a wavefront of slope 2."""
SIGNED_SEEN, SIGNED_CORNER = 20, 5  # coefficients of AC whose signs are seen, of W and N, and of NW and NE
SIDE_SIGNED, OTHER_SIGNED = 11, 36  # the same of the co-located blocks of the first component, and of the second one
MAGNITUDE = 1023  # where magnitudes end
MEAN_UNIT = 32  # means of magnitudes count 1 / MEAN_UNIT
MEAN_RATE = 3  # 2^-3: of a block in the mean of those before it
BASIS_BITS = 8  # of the numbers that continue a block over its edge
CLAMP = 32767  # of a coefficient times its step
EDGE_UNIT, EDGE_LIMIT = 8, 4095  # predictions from edges are in 1/8 of a step
DEAD, SHRINK = 48, 24  # predictions up to DEAD are no reason to shift tokens, larger ones shift them by SHRINK less
OWN = len(AROUND) + 2 * SIGNED_SEEN + 2 * SIGNED_CORNER + 5 * 63 + 16 + len(AROUND)
SIDE = 63 + SIDE_SIGNED + 3 + OTHER_SIGNED + 63
FLAGS = 8
CONDITION = 64 + 64 + FLAGS
LAST_SEEN = 16  # numbers that tell heads of the last place
EDGES = 18  # numbers that tell them of edges


def channel(group: int, asked: int, piece: int = 0) -> int:
    """Of a `Turn`: they ascend within a step. piece: four bits of a remainder, 0 the lowest."""
    return 1 + group * PER_GROUP + (asked if asked < REMAINDER else REMAINDER + PIECES - 1 - piece)
