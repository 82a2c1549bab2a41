"""Fuzzing for some time or number of executions: `python tests/fuzz/run.py --seconds 600`. Finds are kept in a folder, one file each.

Work is done in a child process, so that a crash of the interpreter is a find as well; the parent saves what the child was trying.
"""

import argparse
import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

SECONDS, MEMORY = 10, 1_000_000_000
STATUS = Path("/proc/self")


class TooSlow(BaseException):
    """An execution that took longer than it may."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--executions", type=int, default=sys.maxsize, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", default=[], help="may be repeated; by default all, in turn")
    parser.add_argument("--finds", type=Path, default=Path("finds"), help="folder for what must not happen")
    parser.add_argument("--tiny", action="store_true", help="without the released models among the seeds")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    return child(chosen) if chosen.child else parent(chosen)


def parent(chosen: argparse.Namespace) -> int:
    """Run children until the time is up; 1 if anything was found."""
    chosen.finds.mkdir(parents=True, exist_ok=True)
    end, left, seed, totals = time.monotonic() + chosen.seconds, chosen.executions, chosen.seed, Counter[str]()
    while left > 0 and time.monotonic() < end:
        options = ["--seconds", str(end - time.monotonic()), "--executions", str(left), "--seed", str(seed), "--finds", str(chosen.finds)]
        options += [part for name in chosen.target for part in ("--target", name)] + ["--tiny"] * chosen.tiny
        done = subprocess.run([sys.executable, __file__, "--child", *options], stdout=subprocess.PIPE, check=False)
        report = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
        totals.update(report)
        left, seed = left - report.get("executions", 1), seed + 1
        current = chosen.finds / "current"
        if done.returncode < 0 and current.exists():
            name, data = current.read_bytes().split(b"\n", 1)
            totals["finds"] += 1
            keep(chosen.finds, name.decode(), data, f"the interpreter ended with signal {-done.returncode}")
        elif done.returncode:
            break
        current.unlink(missing_ok=True)
    print(json.dumps(dict(sorted(totals.items())), indent=1))
    return int(totals["finds"] > 0 or totals["executions"] == 0)


def child(chosen: argparse.Namespace) -> int:
    from fuzz import targets
    from presage.codec import weights

    weights._model = lru_cache(maxsize=64)(weights._model.__wrapped__)  # more models than are kept otherwise are used in turn
    warnings.simplefilter("ignore")  # Pillow's, of damaged TIFF files
    rng, counts, spent = random.Random(chosen.seed), Counter[str](), defaultdict[str, float](float)
    every = {name: targets.TARGETS[name] for name in targets.names(chosen.target)}
    seeds = {name: target.seeds(not chosen.tiny) for name, target in every.items()}
    others = [seed for name, kept in seeds.items() for seed in kept if seed.startswith(b"\x8ePSG")] or [b""]
    corpus = {name: [path.read_bytes() for path in sorted((HERE / "corpus").glob(f"{name}-*"))] for name in every}
    signal.signal(signal.SIGPROF, too_slow)
    end, current, said = time.monotonic() + chosen.seconds, chosen.finds / "current", time.monotonic()
    while counts["executions"] < chosen.executions and time.monotonic() < end:
        name = min(every, key=lambda name: (spent[name], rng.random()))  # every target gets the same time
        pool = seeds[name] if name in ("weights", "picture") else seeds[name] * 3 + corpus[name]
        try:
            data = every[name].change(rng.choice(pool), rng, seeds[name] if name in ("weights", "picture") else others)
        except Exception:  # a find of the corpus may be too broken to be changed
            continue
        current.write_bytes(name.encode() + b"\n" + data)
        counts["executions"] += 1
        counts[name] += 1
        started = time.process_time()
        trouble = attempt(every[name], data, counts)
        spent[name] += time.process_time() - started
        if trouble:
            counts["finds"] += 1
            keep(chosen.finds, name, data, trouble)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            print(dict(counts), file=sys.stderr, flush=True)
    print(json.dumps(counts | {f"{name} s": round(seconds) for name, seconds in spent.items()}))
    return 0


def attempt(target: object, data: bytes, counts: Counter[str]) -> str:
    """What must not happen, of one execution; empty if it did not."""
    before, started = fresh_peak(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy with other work
    try:
        counts[f"-> {target.attempt(data) or 'decoded'}"] += 1  # type: ignore[attr-defined]
        trouble = ""
    except (Exception, TooSlow):
        trouble = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took, used = time.process_time() - started, peak() - before
    counts["slowest ms"] = max(counts["slowest ms"], round(1000 * took))
    counts["most MB"] = max(counts["most MB"], used // 1_000_000)
    if not trouble and (took > SECONDS or used > MEMORY):
        trouble = f"{took:.1f} s and {used:,} bytes"
    return trouble


def too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS} s")


def fresh_peak() -> int:
    """Bytes of memory now, from where the peak is counted again."""
    with suppress(OSError):
        (STATUS / "clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most bytes of memory that the process had."""
    try:
        lines = (STATUS / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def keep(folder: Path, name: str, data: bytes, trouble: str) -> None:
    """Save a find, once for each place where it happened."""
    where = [line.strip() for line in trouble.splitlines() if line.startswith("  File")][-1:] or [trouble.splitlines()[-1]]
    stem = f"{name}-{hashlib.sha256(where[0].encode()).hexdigest()[:12]}"
    if not (folder / stem).exists() or len((folder / stem).read_bytes()) > len(data):
        (folder / stem).write_bytes(data)
        (folder / f"{stem}.txt").write_text(trouble)


if __name__ == "__main__":
    sys.exit(main())
