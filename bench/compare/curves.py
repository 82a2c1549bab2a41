"""Rate and distortion: PSNR over R, G and B together, MS-SSIM (Wang et al. 2003) as the mean over R, G and B, and curves of them.

Between the points of a curve it is straight in the logarithm of the rate.
"""

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from .codecs import Pixels

SMALLEST = 161  # pixels along a side that MS-SSIM needs
Similarity = Callable[[Pixels, Pixels], float]
Point = dict[str, float]
Curve = Sequence[Point]


def ms_ssim() -> Similarity:
    """The function that measures MS-SSIM of two pictures of a size. Raises ImportError without pytorch-msssim."""
    try:
        import pytorch_msssim
    except ImportError:
        raise ImportError("MS-SSIM needs pytorch-msssim: pip install presage[bench]") from None

    def measure(a: Pixels, b: Pixels) -> float:
        if min(a.shape[:2]) < SMALLEST:
            raise ValueError(f"MS-SSIM needs images of at least {SMALLEST} x {SMALLEST} pixels")
        pair = [torch.from_numpy(np.array(p)).permute(2, 0, 1).unsqueeze(0).float() for p in (a, b)]
        return float(pytorch_msssim.ms_ssim(*pair, data_range=255))

    return measure


def bits_a_pixel(pixels: Pixels, size: int) -> float:
    """The rate of a file of a size in bytes."""
    return float(8 * size / (pixels.shape[0] * pixels.shape[1]))


def psnr(pixels: Pixels, decoded: Pixels) -> float:
    """In dB."""
    error = np.square(decoded.astype(np.float64) - pixels).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def distances(pixels: Pixels, decoded: Pixels, size: int) -> Point:
    """What a file of a size in bytes costs and shows. Raises ImportError without pytorch-msssim."""
    similarity = ms_ssim()(pixels, decoded)
    return {
        "bytes": size,
        "bpp": bits_a_pixel(pixels, size),
        "psnr": psnr(pixels, decoded),
        "ms_ssim": similarity,
        "ms_ssim_db": float(-10 * np.log10(max(1e-9, 1 - similarity))),
    }


def mean_curve(curves: Sequence[Curve]) -> list[Point]:
    """The mean over images at every setting."""
    return [{key: fmean(point[key] for point in points) for key in points[0]} for points in zip(*curves, strict=True)]


def at_rate(curve: Curve, rate: float, measure: str) -> float:
    """The measure of a curve at a rate; NaN outside of what was measured."""
    rates, values = (np.array([point[key] for point in curve]) for key in ("bpp", measure))
    return float(np.interp(np.log(rate), np.log(rates), values, left=np.nan, right=np.nan))


def bd_rate(curve: Curve, other: Curve, measure: str) -> float:
    """How many more bytes a curve takes than another for the same measure, as a share: the mean of the difference of the logarithms
    of the rates, over the part that both reach (Bjontegaard 2001, with straight lines for polynomials)."""
    low = max(min(point[measure] for point in c) for c in (curve, other))
    high = min(max(point[measure] for point in c) for c in (curve, other))
    first, second = (_log_rates(c, measure, np.linspace(low, high, 500)) for c in (curve, other))
    return float(np.expm1((first - second).mean()))


def _log_rates(curve: Curve, measure: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the rates at which a curve has values of a measure."""
    points = sorted(curve, key=lambda point: point[measure])
    logs: NDArray[np.float64] = np.interp(values, [p[measure] for p in points], np.log([p["bpp"] for p in points]))
    return logs
