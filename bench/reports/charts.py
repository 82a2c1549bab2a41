"""Charts of results, as plotly's JavaScript takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from .layout import COLOURS, PEER, nearest

SHORT = {"psnr": "PSNR, dB", "ms_ssim_db": "MS-SSIM, dB"}
PALETTE = ("#c2410c", "#2563eb", "#4d7c0f", "#9333ea", "#0891b2", "#6b7280", "#ca8a04", "#db2777")
OWN = ("presage", "ordered")
TICKS = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)]
AT = 0.3  # bits a pixel at which seconds are shown
Chart = dict[str, Any]


def chart(title: str, x: Mapping[str, Any], y: str, data: Sequence[Mapping[str, Any]]) -> Chart:
    """A chart with a title, an axis x (of plotly) and the title of the axis y."""
    layout = {
        "title": {"text": title, "font": {"size": 14}, "x": 0.02}, "margin": {"l": 55, "r": 10, "t": 40, "b": 45}, "hovermode": "closest",
        "xaxis": dict(x), "yaxis": {"title": {"text": y}}, "legend": {"orientation": "h", "y": -0.25}, "showlegend": len(data) > 1,
    }  # fmt: skip
    return {"data": [dict(trace) for trace in data], "layout": layout}


def log_axis(title: str) -> dict[str, Any]:
    """An axis of logarithms, with few numbers on it."""
    return {"title": {"text": title}, "type": "log", "tickvals": TICKS, "ticktext": [f"{tick:g}" for tick in TICKS]}


def colour(name: str, place: int) -> str:
    """Of a codec, the same in all charts and readable on light and dark."""
    return PALETTE[place % len(PALETTE)] if COLOURS.get(name, PEER) == PEER else COLOURS[name]


def curves(result: dict[str, Any], measure: str, title: str) -> Chart:
    """The mean curves of all codecs."""
    traces = []
    for place, (name, curve) in enumerate(result["curves"].items()):
        points = [point for point in curve if point.get(measure) is not None and point[measure] < 99]
        own = name in OWN
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": name, "x": [point["bpp"] for point in points],
            "y": [point[measure] for point in points], "text": [f"{point['bytes']:,.0f} bytes" for point in points],
            "hovertemplate": "%{y:.2f} at %{x:.3f} bpp, %{text}<extra>" + name + "</extra>",
            "line": {"color": colour(name, place), "width": 3 if own else 1.5}, "marker": {"size": 6 if own else 4},
        })  # fmt: skip
    return chart(f"{title} against bits a pixel", log_axis("bits a pixel"), title, traces)


def against_seconds(points: Mapping[str, tuple[float | None, float | None]], title: str, y: str) -> Chart:
    """Sizes (second) against seconds (first) by codec."""
    traces = []
    for place, (name, (seconds, size)) in enumerate(points.items()):
        if seconds is None or size is None:
            continue
        traces.append({
            "type": "scatter", "mode": "markers+text", "name": name, "text": [name],
            "textposition": "top center", "x": [seconds], "y": [size],
            "marker": {"size": 14 if name in OWN else 10, "color": colour(name, place)},
            "hovertemplate": "%{y:.3f}, %{x:.3g} s<extra>" + name + "</extra>",
        })  # fmt: skip
    drawn = chart(title, log_axis("seconds an image"), y, traces)
    drawn["layout"]["showlegend"] = False
    return drawn


def lossless(result: dict[str, Any]) -> list[Chart]:
    """Size against the time of encoding and of decoding."""
    return [
        against_seconds({name: (mean.get(f"{way}_s"), mean["bpsp"]) for name, mean in result["mean"].items()}, title, "bits per sub-pixel")
        for way, title in (("encode", "Size against time: encoding"), ("decode", "Size against time: decoding"))
    ]


def lossy(result: dict[str, Any]) -> list[Chart]:
    """Rate curves, and Presage's bytes relative to others' against the time of decoding."""
    drawn = [curves(result, measure, title) for measure, title in SHORT.items()]
    sizes = {"presage": 1.0} | {name: 1 / (1 + rate) for name, rate in result["bd_rate"]["psnr"].items()}
    for way, title in (("encode", "encoding"), ("decode", "decoding")):
        points = {name: (nearest(result["curves"][name], AT)[f"{way}_s"], size) for name, size in sizes.items()}
        drawn.append(against_seconds(points, f"Size against time near {AT} bpp: {title}", "bytes for one PSNR, Presage 1"))
    return drawn


def anytime(result: dict[str, Any]) -> list[Chart]:
    """What cut files show."""
    return [curves(result, measure, title) for measure, title in SHORT.items()]


def jpeg(result: dict[str, Any]) -> list[Chart]:
    """Shares of the JPEG files' bytes."""
    names = list(result["sums"])
    bars = {
        "type": "bar", "x": names, "y": [100 * result["sums"][name]["share"] for name in names],
        "marker": {"color": [colour(name, place) for place, name in enumerate(names)]}, "hovertemplate": "%{y:.1f} %<extra>%{x}</extra>",
    }  # fmt: skip
    return [chart("Bytes, % of the JPEG files", {"title": {"text": ""}}, "%", [bars])]
