"""The command as people use it: real processes, pipes, exit codes, nothing half-written."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, noise
from PIL import Image

import presage

COMMAND = [sys.executable, "-m", "presage"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(HERE.parent), "PRESAGE_MODELS": str(HERE / "data")}
GOLDEN = HERE / "golden"


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, env=ENVIRONMENT, check=False, **options)


def test_round_trip_with_names_beside_the_sources(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(noise(30, 40, i)).save(tmp_path / f"{i}.png")
    done = run("encode", "-m", "tiny", "--json", tmp_path / "0.png", tmp_path / "1.png", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["output"]).name for line in lines] == ["0.psg", "1.psg"]
    (tmp_path / "out").mkdir()
    assert run("decode", tmp_path / "0.psg", tmp_path / "1.psg", "--out-dir", tmp_path / "out").returncode == 0
    for i in range(2):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i}.png")), noise(30, 40, i))


def test_pipes(tmp_path: Path) -> None:
    source = (GOLDEN / "rgb.png").read_bytes()
    encoded = run("encode", "-m", "tiny", "-", input=source)
    assert encoded.returncode == 0
    decoded = run("decode", "-", "-o", "-", input=encoded.stdout)
    assert decoded.returncode == 0
    (tmp_path / "x.png").write_bytes(decoded.stdout)
    assert Image.open(tmp_path / "x.png").tobytes() == Image.open(GOLDEN / "rgb.png").tobytes()


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    target = tmp_path / "x.psg"
    target.write_text("precious")
    done = run("encode", "-m", "tiny", GOLDEN / "rgb.png", "-o", target)
    assert done.returncode == 1
    assert b"-f" in done.stderr
    assert target.read_text() == "precious"
    assert run("encode", "-m", "tiny", GOLDEN / "rgb.png", "-o", target, "-f").returncode == 0
    assert presage.decode(target.read_bytes()).size == (83, 61)


def test_exit_codes(tmp_path: Path) -> None:
    damaged = tmp_path / "bad.psg"
    damaged.write_bytes((GOLDEN / "rgb.psg").read_bytes()[:-3])
    done = run("decode", damaged)
    assert done.returncode == 3
    assert not (tmp_path / "bad.png").exists()
    assert b"Traceback" not in done.stderr
    assert run("verify", damaged, GOLDEN / "rgb.psg").returncode == 3
    assert run("info", tmp_path / "missing.psg").returncode == 1
    assert run("decode", GOLDEN / "rgb.psg", "--no-such-option").returncode == 2
    assert run("encode", GOLDEN / "rgb.png", GOLDEN / "gray.png", "-o", "x.psg").returncode == 2
    assert run("encode", GOLDEN / "rgb.png", "-m", "nothing", "-o", tmp_path / "y.psg").returncode == 4
    lost = subprocess.run(
        [*COMMAND, "verify", GOLDEN / "rgb.psg"], capture_output=True, env=ENVIRONMENT | {"PRESAGE_MODELS": ""}, check=False
    )
    assert lost.returncode == 4
    assert b"tiny-1" in lost.stderr
    assert run("decode", GOLDEN / "rgb.psg", "-o", tmp_path / "x.jpg").returncode == 1


def test_several_inputs_go_on_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "no.psg").write_bytes(b"no")
    done = run("decode", tmp_path / "no.psg", GOLDEN / "gray.psg", "--out-dir", tmp_path, "--json")
    assert done.returncode == 3
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["exit_code"] == 3
    assert (second["width"], second["height"]) == (83, 61)
    assert (tmp_path / "gray.png").exists()


def test_recover_crop_and_verify(tmp_path: Path) -> None:
    cut = tmp_path / "cut.psg"
    data = (GOLDEN / "rgb.psg").read_bytes()
    cut.write_bytes(data[: len(data) * 3 // 4])
    assert run("decode", cut).returncode == 3
    done = run("decode", "--recover", cut, "-o", tmp_path / "saved.png")
    assert done.returncode == 0
    assert b"lost" in done.stderr
    assert run("decode", "--crop", "10,20,30,15", GOLDEN / "rgb.psg", "-o", tmp_path / "crop.png").returncode == 0
    assert Image.open(tmp_path / "crop.png").tobytes() == Image.open(GOLDEN / "rgb.png").crop((10, 20, 40, 35)).tobytes()
    assert run("decode", "--crop", "1,2", GOLDEN / "rgb.psg", "-o", "-").returncode == 2
    assert b"ok" in run("verify", GOLDEN / "rgb.psg").stderr


def test_jpeg_input_is_taken_with_a_warning(tmp_path: Path) -> None:
    Image.fromarray(noise(40, 40)).save(tmp_path / "a.jpg")
    done = run("encode", "-m", "tiny", "--pixels", tmp_path / "a.jpg")
    assert done.returncode == 0
    assert b"JPEG" in done.stderr


def test_killed_work_leaves_no_half_file_under_the_final_name(tmp_path: Path) -> None:
    Image.fromarray(noise(600, 600)).save(tmp_path / "big.png")
    assert run("encode", "-m", "tiny", tmp_path / "big.png", "-o", tmp_path / "whole.psg").returncode == 0
    for arguments, result in (
        (["encode", "-m", "tiny", "big.png", "-o", "x.psg"], "x.psg"),
        (["decode", "whole.psg", "-o", "y.png"], "y.png"),
    ):
        for delay in (0.3, 1.2, 1.6, 2.0, 2.4):
            process = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            if (tmp_path / result).exists():  # it was done before it was killed, then the file is whole
                data = (tmp_path / result).read_bytes()
                image = presage.decode(data) if result.endswith(".psg") else Image.open(tmp_path / result)
                assert np.array_equal(np.asarray(image), noise(600, 600))
                (tmp_path / result).unlink()


@pytest.mark.parametrize("arguments", [["--help"], ["info", str(GOLDEN / "rgb.psg")], ["models"], ["--version"]])
def test_light_commands_import_neither_torch_nor_numpy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom presage.codec.cli.main import main\nsys.argv[1:] = " + repr(arguments) + "\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "bad = {'torch', 'numpy', 'PIL', 'constriction'} & set(sys.modules)\nassert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=ENVIRONMENT, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_models_are_listed() -> None:
    facts = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    assert {"tiny-1"} <= {f["name"] for f in facts}


def test_pack_and_unpack(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(noise(12, 10, i)).save(tmp_path / "in" / ("deep" if i else ".") / f"{i}.png")
    done = run("pack", tmp_path / "in", "-m", "tiny-chain", "-o", tmp_path / "x.psg", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 3
    assert b"deep/1.png" in run("info", tmp_path / "x.psg").stdout
    done = run("unpack", tmp_path / "x.psg", "--out-dir", tmp_path / "out", "--stats", "--schedule", "fixed-point")
    assert done.returncode == 0, done.stderr
    assert b"calls of the model" in done.stderr
    for i, name in enumerate(("0.png", "deep/1.png", "deep/2.png")):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), noise(12, 10, i))
    assert run("unpack", tmp_path / "x.psg", "--out-dir", tmp_path / "out").returncode == 1  # they exist
    assert run("unpack", tmp_path / "x.psg", "--out-dir", tmp_path / "one", "-n", "deep/2.png").returncode == 0
    assert sorted(p.name for p in (tmp_path / "one").rglob("*.png")) == ["2.png"]
    assert run("decode", tmp_path / "x.psg").returncode == 1
    whole = bytearray((tmp_path / "x.psg").read_bytes())
    whole[-2] ^= 1
    (tmp_path / "bad.psg").write_bytes(whole)
    done = run("unpack", tmp_path / "bad.psg", "--out-dir", tmp_path / "bad")
    assert (done.returncode, list(tmp_path.glob("bad/*"))) == (3, [])
    done = run("unpack", tmp_path / "bad.psg", "--out-dir", tmp_path / "bad", "--recover")
    assert done.returncode == 0
    assert b"lost 0.png" in done.stderr
    assert b"ok, 3 images" in run("verify", tmp_path / "x.psg").stderr
    assert run("verify", tmp_path / "bad.psg").returncode == 3


def test_quantise_is_said_and_done(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9)[..., 0]).save(tmp_path / "gray.png")
    done = run("encode", tmp_path / "gray.png", "-m", "tiny-bits")
    assert done.returncode == 1
    assert b"--quantise" in done.stderr
    assert run("encode", tmp_path / "gray.png", "-m", "tiny-bits", "--quantise").returncode == 0
    assert run("decode", tmp_path / "gray.psg", "-o", tmp_path / "back.png", "--schedule", "last").returncode == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back.png")), (noise(9, 9)[..., 0] >= 128) * 255)


def test_samples(tmp_path: Path) -> None:
    options = ["-m", "tiny-chain", "-n", "2", "--size", "5x4", "--seed", "3"]
    maps = ["--mistakes", tmp_path / "m.png", "--convergence", tmp_path / "c.png"]
    done = run("sample", *options, *maps, "-o", tmp_path / "a.png", "--stats", "--schedule", "fixed-point")
    assert done.returncode == 0, done.stderr
    assert b"calls of the model" in done.stderr
    assert run("sample", *options, "-o", tmp_path / "b.png", "--schedule", "zeros", "--batch", "1", "--threads", "1").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "m.png").size == Image.open(tmp_path / "c.png").size == Image.open(tmp_path / "a.png").size
    assert run("sample", *options, "-o", tmp_path / "a.png").returncode == 1  # it exists
    assert run("sample", "-m", "tiny", "-n", 4, "--size", "20x24", "-o", tmp_path / "d.png").returncode == 0  # by its walk
    assert Image.open(tmp_path / "d.png").size == ((20 + 2 + 20) * 4, (24 + 2 + 24) * 4)
    guesses = run("sample", "-m", "tiny", "-n", 1, "--size", "8x8", "-o", tmp_path / "e.png", "--mistakes", tmp_path / "f.png")
    assert guesses.returncode == 1  # a walk guesses nothing


def test_lossy(tmp_path: Path) -> None:
    source = (GOLDEN / "rgb.png").read_bytes()
    encoded = run("encode", "--lossy", "-m", "tiny-latent", "--bytes", "400", "-", input=source)
    assert encoded.returncode == 0, encoded.stderr
    assert 380 <= len(encoded.stdout) <= 400
    decoded = run("decode", "-", "-o", "-", input=encoded.stdout)
    assert decoded.returncode == 0
    (tmp_path / "x.png").write_bytes(decoded.stdout)
    assert Image.open(tmp_path / "x.png").size == (83, 61)
    (tmp_path / "x.psg").write_bytes(encoded.stdout)
    shown = json.loads(run("info", "--json", tmp_path / "x.psg").stdout)
    assert (shown["coding"], shown["model"]) == ("lossy", "tiny-latent-1")
    assert shown["bits_per_pixel"] == round(8 * len(encoded.stdout) / (83 * 61), 4)
    assert run("verify", tmp_path / "x.psg").returncode == 0
    (tmp_path / "x.psg").write_bytes(encoded.stdout[:-3])
    done = run("decode", tmp_path / "x.psg", "-o", tmp_path / "y.png")
    assert done.returncode == 3
    assert not (tmp_path / "y.png").exists()


@pytest.mark.parametrize(
    "options",
    [["--bpp", "1"], ["--lossy", "--bpp", "1", "--psnr", "30"], ["--lossy", "--quantise"], ["--effort", "2"], ["--lossy", "--effort", "0"]],
)
def test_lossy_options_that_do_not_go_together(options: list[str], tmp_path: Path) -> None:
    assert run("encode", *options, GOLDEN / "rgb.png", "-o", tmp_path / "x.psg").returncode == 2
    assert not list(tmp_path.iterdir())


def test_lossy_sets_and_samples(tmp_path: Path) -> None:
    done = run("pack", "-m", "tiny-categories", GOLDEN / "rgb.png", "-o", tmp_path / "x.psg")
    assert done.returncode == 1
    assert b"--lossy" in done.stderr
    done = run("pack", "--lossy", "-m", "tiny-categories", GOLDEN / "rgb.png", "-o", tmp_path / "x.psg")
    assert done.returncode == 0, done.stderr
    assert run("unpack", tmp_path / "x.psg", "--out-dir", tmp_path).returncode == 0
    assert Image.open(tmp_path / "rgb.png").size == (83, 61)
    maps = ["--mistakes", tmp_path / "m.png", "--convergence", tmp_path / "c.png"]
    done = run("sample", "-m", "tiny-latent", "-n", "2", "--size", "32x24", "-o", tmp_path / "s.png", *maps)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "m.png").size == Image.open(tmp_path / "c.png").size == Image.open(tmp_path / "s.png").size


def test_devices_and_pipes_are_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe, source = tmp_path / "pipe", tmp_path / "a.png"
    os.mkfifo(pipe)
    Image.fromarray(noise(9, 9)).save(source)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        assert run("encode", "-m", "tiny", source, "-f", "-o", pipe).returncode == 0
        piped, _ = reader.communicate(timeout=60)
    assert pipe.is_fifo()
    assert np.array_equal(np.asarray(presage.decode(piped)), noise(9, 9))
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make a device")
    assert run("encode", "-m", "tiny", source, "-f", "-o", device).returncode == 0
    assert device.is_char_device()


def test_results_with_one_name_are_refused_before_any_work(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        Image.fromarray(noise(9, 9)).save(tmp_path / name)
    both = [str(tmp_path / "a.png"), str(tmp_path / "a.bmp")]
    for arguments in (["encode", "-m", "tiny", *both, "-f"], ["pack", "-m", "tiny-chain", *both, "-o", str(tmp_path / "set.psg")]):
        result = run(*arguments)
        assert result.returncode in (1, 2)
        assert all(name in result.stderr.decode() for name in both)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bmp", "a.png"]
    packed = tmp_path / "set.psg"
    packed.write_bytes(presage.pack({"a.png": noise(9, 9), "a.bmp": noise(8, 9)}, model="tiny-chain"))
    out = tmp_path / "out"
    result = run("unpack", packed, "--out-dir", out, "-f")
    assert result.returncode == 1
    assert "a.png and a.bmp" in result.stderr.decode()
    assert not out.exists()


def test_folders_keep_their_tree(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    for name in ("a.png", "below/b.png", "below/deep/c.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(12, 15, len(name))).save(source / name)
    (source / "below" / "notes.txt").write_text("no image")
    Image.new("F", (4, 4)).save(source / "below" / "print.tif")
    done = run("encode", "-m", "tiny", source, "--out-dir", out)
    assert done.returncode == 0, done.stderr
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.psg")] == ["a.psg"]
    done = run("encode", "-m", "tiny", source, "--out-dir", out, "-r", "-f", "--json", "-j", 2)
    assert done.returncode == 1  # the image of floating point numbers is refused, and the work goes on
    assert b"notes.txt" in done.stderr
    assert b"skipped" in done.stderr
    assert b"mode F" in done.stderr
    summary = done.stderr.decode().splitlines()[-1]
    assert summary.startswith("3 files  ")
    assert summary.endswith("1 failed  1 skipped")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.psg")) == ["a.psg", "below/b.psg", "below/deep/c.psg"]
    lines = {Path(line["file"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert lines["print.tif"]["exit_code"] == 1
    assert "not an image" in lines["notes.txt"]["skipped"]
    back = tmp_path / "back"
    assert run("verify", out, "-r").returncode == 0
    assert run("decode", out, "-r", "--out-dir", back).returncode == 0
    assert np.array_equal(np.asarray(Image.open(back / "below" / "deep" / "c.png")), noise(12, 15, 16))


def test_folders_where_they_make_no_sense(tmp_path: Path) -> None:
    for arguments in (["encode", "-m", "tiny", "."], ["decode", "."], ["info", "."], ["verify", tmp_path]):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"no " in done.stderr
    Image.fromarray(noise(5, 5)).save(tmp_path / "a.png")
    assert run("encode", "-m", "tiny", ".", "-o", "x.psg", cwd=tmp_path).returncode == 2
    assert run("encode", "-m", "tiny", ".", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.psg").exists()
