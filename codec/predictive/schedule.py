"""Schedules of predictive decoding: what is evaluated when, and what is guessed. They never change what is decoded."""

from dataclasses import dataclass, replace

from ..errors import PresageError

GUESSES = ("fixed-point", "zeros", "last", "argmax", "forecast")
SURE = ("ancestral", "wavefront")  # these evaluate a pixel when all that it depends on is known
AHEAD = 10  # pixels; of 7, 10 and 14 it took least time for training pictures of MNIST
SCHEDULES = ("auto", *SURE, *GUESSES)


@dataclass(frozen=True)
class Schedule:
    """How to decode.

    name: `ancestral` evaluates one symbol a call; `wavefront` the pixels of a step, which do not depend on one another (only
    models with a slope have such steps). The others guess to the end of the block: `fixed-point` what the model gave last
    time; `zeros`; `last`, the last value that is known; `argmax`, the most probable value, without noise; `forecast`, what a
    learned module says of the next symbols, and the fixed point beyond them.
    in_turn: give the channels of a pixel one after the other within a call, instead of all from the last call's guesses.
    window: guess at most so many pixels ahead in an image; 0: all of the block.
    steps: symbols that the learned module forecasts. module: which one, see `models/forecast.py`.
    """

    name: str = "auto"
    in_turn: bool = True
    window: int = 0
    steps: int = 20
    module: str = "h"

    def decided(self, slope: int, few_calls: bool) -> "Schedule":
        """The same with `auto` decided for a model. Raises PresageError for a schedule that the model does not allow.

        The wavefront evaluates every pixel once, and mostly nothing beats that. few_calls: the batch is small and most guesses will be
        right, so that the number of calls counts as well; a fixed point that looks a step or two ahead needs fewer, and evaluates hardly
        more pixels.
        """
        if self.name not in SCHEDULES:
            raise PresageError(f"no schedule called {self.name!r}; there are {', '.join(SCHEDULES)}")
        if self.name == "wavefront" and not slope:
            raise PresageError("this model has no wavefront: its reach to the right is not bounded; use fixed-point")
        name, window = self.name, self.window
        if name == "auto":
            name = "wavefront" if slope and not few_calls else "fixed-point"
            window = window or (AHEAD if slope and few_calls else 0)
        return replace(self, name=name, window=window, in_turn=self.in_turn or name in SURE)
