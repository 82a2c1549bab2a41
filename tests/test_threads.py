"""Many callers at once: threads of a server, forked and spawned children, Ctrl-C; and that photographs need no torch."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, noise

import presage
from presage.codec.parallel import spread, working
from presage.codec.settings import Progress

SECONDS = float(os.environ.get("PRESAGE_STRESS_SECONDS", "4"))
"""How long the threads call; a minute is a good measure of a machine."""
MODELS: list[tuple[str, Callable[..., bytes]]] = [
    ("tiny", presage.encode),
    ("tiny-chain", presage.encode),
    ("tiny-latent", presage.encode_lossy),
    ("tiny-ordered", presage.encode_lossy),
]


def round_trip(i: int) -> bytes:
    """A file, decoded to the right pixels before it is returned."""
    model, encode = MODELS[i % len(MODELS)]
    pixels = noise(24 + i % 7, 30 + i % 5, i % 6)
    data = encode(pixels, model=model, threads=1 + i % 2)
    decoded = np.asarray(presage.decode(data, threads=1 + (i + 1) % 2))
    assert decoded.shape == pixels.shape
    assert encode is presage.encode_lossy or np.array_equal(decoded, pixels)
    return data


def test_eight_threads_that_mix_models() -> None:
    expected = [round_trip(i) for i in range(12)]
    until = time.monotonic() + SECONDS

    def work(start: int) -> int:
        done = 0
        while time.monotonic() < until or not done:
            i = (start + done) % len(expected)
            assert round_trip(i) == expected[i]
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) >= 8


def test_torch_gets_its_threads_back() -> None:
    import torch

    before = torch.get_num_threads()
    inside = threading.Barrier(3)

    def work(part: slice, report: Progress) -> list[int]:
        inside.wait(20)
        return [torch.get_num_threads()]

    assert spread(work, 3, 1, 3, lambda _: None) == [1, 1, 1]
    assert torch.get_num_threads() == before
    with working(), working():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_children_of_a_process_that_has_worked(method: str) -> None:
    expected = round_trip(0)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(round_trip, [0, 0]).get(60) == [expected, expected]


def test_an_error_in_a_thread_reaches_the_caller_and_ends_the_others() -> None:
    ended = []
    started = threading.Event()

    def work(part: slice, report: Progress) -> list[int]:
        if part.start == 0:
            assert started.wait(20)
            raise presage.DamagedFile("here")
        started.set()
        try:
            while True:
                time.sleep(0.001)
                report(0.5)
        finally:
            ended.append(part.start)

    with pytest.raises(presage.DamagedFile, match="here"):
        spread(work, 2, 1, 2, lambda _: None)
    assert ended == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile(noise(128, 128), (16, 16, 1)))
    code = f"import numpy as np, presage; x = np.load('{tmp_path / 'x.npy'}'); print('ready', flush=True); presage.encode(x)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(3)
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    child.communicate(timeout=20)
    assert child.returncode in (-signal.SIGINT, 1)
    assert time.monotonic() - started < 10


def test_photographs_need_no_torch() -> None:
    code = "import sys, numpy as np, presage; x = np.full((40, 50, 3), 7, np.uint8); x[::3] = 90; "
    code += "d = presage.encode(x, model='tiny'); assert (np.asarray(presage.decode(d)) == x).all(); print('torch' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PRESAGE_KERNELS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, env=environment, check=True)
    assert done.stdout.strip() == "False"
