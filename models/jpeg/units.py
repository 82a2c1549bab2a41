"""Order and numbers of the symbols that stand for a block's coefficients. Standard library only.

A block's coefficients are counted along the zigzag, 0 is DC. Its symbols, in their order: the place of the last coefficient that is not 0
(0 if none of AC is), then the coefficients in groups, from high frequencies to low ones, DC last: of each group one token for every
coefficient up to the last one, and for the tokens of what is far from `near` a class and the remainder within the class, four bits at
a time from the top.
"""

ZIGZAG = tuple(
    v * 8 + d - v for d in range(15) for v in (range(d + 1) if d % 2 else range(d, -1, -1)) if 0 <= v < 8 and 0 <= d - v < 8
)
"""Place 8 v + u of the coefficient of vertical frequency v and horizontal frequency u, in zigzag order."""
GROUPS = ((49, 64), (43, 49), (36, 43), (28, 36), (21, 28), (15, 21), (10, 15), (6, 10), (3, 6), (1, 3), (0, 1))
"""First and past-the-last zigzag place of each group: diagonals of equal v + u, of which the last five are one group."""

LAST, TOKEN, CLASS, REMAINDER = range(4)
"""Channels of turns."""
LOW = 2  # bits of a last place that its low symbol says
NEAR = 6  # tokens 1..13 are differences -6..6 from `near`; 0 and 14 are smaller and larger ones
LESS, MORE = 0, 2 * NEAR + 2
CLASSES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 768)
"""First of each class of |difference| - NEAR - 1."""
CLASS_BITS = (0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 7, 9, 17)
"""Bits of the remainder in each class."""
NIBBLES = tuple(-(-bits // 4) for bits in CLASS_BITS)
LIMIT = 32768  # of a coefficient
