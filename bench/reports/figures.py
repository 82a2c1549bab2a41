"""An empty figure, where matplotlib is installed."""

from typing import Any


def blank(size: tuple[float, float], columns: int, **options: Any) -> tuple[Any, Any]:
    """A figure of a size in inches and its axes side by side; options: of `Figure.subplots`. Raises ImportError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the figure needs matplotlib: pip install presage[bench]") from None

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, **options)
