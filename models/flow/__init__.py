"""Integer discrete flows: pixels through invertible integer layers, with a conditional base."""
