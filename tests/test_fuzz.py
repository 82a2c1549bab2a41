"""What fuzzing has found stays found, and the fuzzer itself works: each target makes mutants, and the rule is kept by some of them."""

import random
from pathlib import Path

import pytest
from conftest import HERE
from fuzz import mutate, targets

from presage.codec.format import container

CORPUS = sorted(path for path in (HERE / "fuzz" / "corpus").iterdir() if path.is_file())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus(path: Path) -> None:
    targets.target_of(path.name).attempt(path.read_bytes())


@pytest.mark.parametrize("name", targets.TARGETS)
def test_some_mutants_of_each_target(name: str) -> None:
    target, rng = targets.TARGETS[name], random.Random(5)
    seeds = target.seeds(False)
    outcomes = [target.attempt(target.change(rng.choice(seeds), rng, seeds)) for _ in range(6)]
    assert any(outcome not in ("", "decoded") for outcome in outcomes) or name in ("meta", "picture", "weights", "stream", "preview")
    for seed in seeds[:2]:
        assert target.attempt(seed) in ("", "decoded", "WeightsError", "kept")


@pytest.mark.parametrize("name", ["photo", "chain", "set", "latent", "ordered", "stored", "jpeg"])
def test_checksums_are_repaired(name: str) -> None:
    """Files that are taken apart and put together are the same; what is changed inside gets past the first checks."""
    for data in targets.TARGETS[name].seeds(False):
        if container.read_header(data, partial=True).size == len(data):  # one is cut
            assert mutate.put_together(mutate.taken_apart(data)) == data
