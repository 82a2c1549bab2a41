"""The numbers in the formulas of contexts and distributions, for networks, torch forms and kernels alike. Standard library only."""

# contexts (context.py)
SLOPE = 2
CHANNELS = 3
PIXEL_BLOCK = (8, 4)  # wavefront steps, rows: 32 neighbouring pixels
ERROR_BLOCK = (3, 2)  # where past errors are looked at: W NE WW N WWW NW
PREDICTIONS = 6
OUTSIDE = -2048  # value of a plane outside the tile; becomes 0 in the network's input
TO_CODED = [1, 0, 2]  # RGB <-> the coded order G, R, B
FRACTION = 8  # predictions are in 1/8 of a grey level
SIGNED_LIMIT, ERROR_LIMIT = 640, 255 * 6
HINT_LIMIT = 511  # of a residual that later channels are told of
NEIGHBOURS, REMEMBERED = PIXEL_BLOCK[0] * PIXEL_BLOCK[1], ERROR_BLOCK[0] * ERROR_BLOCK[1]
INPUTS = CHANNELS * (NEIGHBOURS + PREDICTIONS + REMEMBERED)
HINTS = 2  # numbers that tell of an earlier channel's residual

STREAM_LIMIT = 32767  # of a residual stream

# mixtures of logistics, in floating point (logistic.py)
OFFSET_UNIT = 4.0  # grey levels a unit of the network's output
SCALE_RANGE = (-3.0, 4.5)  # natural logarithm of a logistic's scale in grey levels
LOGIT_RANGE = 8.0

# the same in integers (frequencies.py)
GREY = 32  # units of a grey level in offsets and centres
LEVEL = 32  # units of a natural logarithm in scales and logits
STEPS = 256  # table entries of the sigmoid for a unit of its argument
REACH = 16  # the sigmoid's table covers -REACH..REACH
SCALE_LOW, SCALE_HIGH = (round(v * LEVEL) for v in SCALE_RANGE)
LOGIT_LIMIT = round(LOGIT_RANGE * LEVEL)
OFFSET_LIMIT = 4095  # keeps every product of a distance and an inverse scale below 2^31
INVERSE_BITS = 8
SIGMOID_BITS, SHARE_BITS, WEIGHT_BITS = 16, 12, 23  # K <= 7 keeps sums below 2^31, weights below 2^24
SPARE_BITS = SIGMOID_BITS + SHARE_BITS + 3 - WEIGHT_BITS  # by which sums are shifted to become weights
CATEGORY_BITS = 16  # of the largest weight of a category
LOGIT_UNIT = 64  # logits of categories count 1 / LOGIT_UNIT
DEEPEST = 16 * LOGIT_UNIT  # logits that are further below the largest get no weight but the one quantile


def offsets(block: tuple[int, int]) -> list[tuple[int, int]]:
    """(dy, dx) of a block's cells in their order: oldest step first, top row first."""
    steps, rows = block
    return [(-k, SLOPE * k - d) for d in range(steps, 0, -1) for k in range(rows - 1, -1, -1)]
