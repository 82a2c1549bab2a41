"""The numbers in the formulas of `planes`, beside those of `models/units.py`. Standard library only."""

from ..units import HINTS

AHEAD = ((0, 1), (0, 2), (0, 4), (1, -1), (1, 0), (1, 1), (2, -2), (2, 0), (2, 2), (4, 0))  # (dy, dx) where side planes are looked at
SIDES = 2
UNKNOWN = 128  # what an unknown side plane holds
KNOWN = SIDES * (HINTS + len(AHEAD))  # numbers that tell of the side planes at the pixel and ahead
