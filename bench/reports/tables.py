"""Markdown of what `lossless.run` measured."""

from collections.abc import Sequence
from typing import Any

MIB, SECONDS, SPEED, BPSP = "{:,.0f}", "{:.2f}", "{:.2f}", "{:.4f}"


def markdown(result: dict[str, Any]) -> str:
    """All tables of a result, with what has to be known to read them."""
    parts = [_sizes(result)]
    if "command_line" in result:
        parts += [_command_line(result), _time(result)]
    if "ladder" in result:
        parts.append(_ladder(result["ladder"]))
    if len(result["images"]) > 1:
        parts.append(_images(result))
    return "\n\n".join(parts)


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def threads(machine: dict[str, Any]) -> str:
    """How many threads a result was measured with."""
    return f"{machine['threads']} thread{'s' * (machine['threads'] > 1)}"


def _number(pattern: str, value: float | None) -> str:
    return "-" if value is None else pattern.format(value)


def _by_size(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(result["mean"].items(), key=lambda item: item[1]["bpsp"])


def _sizes(result: dict[str, Any]) -> str:
    columns = [
        ("encode_s", SECONDS, "encode s"),
        ("decode_s", SECONDS, "decode s"),
        ("encode_mb_s", SPEED, "encode MB/s"),
        ("decode_mb_s", SPEED, "decode MB/s"),
        ("encode_mib", MIB, "encode MiB"),
        ("decode_mib", MIB, "decode MiB"),
    ]
    rows = []
    for name, mean in _by_size(result):
        relative = result["relative_to_jxl9"].get(name)
        values = [_number(pattern, mean.get(key)) for key, pattern, _ in columns]
        shown = f"{name} (recorded)" if mean["recorded"] else name
        rows.append([shown, BPSP.format(mean["bpsp"]), _number("{:+.2%}", relative), *values])
    machine, count = result["machine"], len(result["images"])
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    notes = [
        f"Means over {count} image{'s' * (count > 1)}; bpsp: bits per sub-pixel of whole files, each decoded and compared with its image.",
        f"{machine['processor']}, {threads(machine)}; MB/s of pixels.",
        f"Seconds an image: median of {result['repeats']}, or one turn where encoding takes over 5 s.",
        f"MiB: peak of a process that does nothing else, on {result['memory_image']}; with the interpreter, and for Presage with torch.",
        *(f"{name}: {description}." for name, description in result["codecs"].items()),
        *(f"{note[0].upper()}{note[1:]}." for note in result["notes"]),
        f"Versions: {versions}.",
    ]
    head = ["codec", "bpsp", "to jxl9", *(title for _, _, title in columns)]
    return f"{rows_of(head, rows)}\n\n" + "\n".join(f"- {note}" for note in notes)


def _command_line(result: dict[str, Any]) -> str:
    command, portable = result["command_line"], result["portable_float32"]["decode_s"]
    rows = [
        ["`presage encode`, start to exit", SECONDS.format(command["encode_s"])],
        ["`presage decode`, start to exit", SECONDS.format(command["decode_s"])],
        ["decode in a running process, float32 arithmetic", SECONDS.format(portable)],
    ]
    default = result["images"][0]["codecs"]["presage"]["decode_s"]
    rows.append([f"the same, {result['arithmetic']} arithmetic (chosen here)", SECONDS.format(default)])
    return rows_of([f"Presage ({result['model']}) on {result['first_image']}", "seconds"], rows)


def _time(result: dict[str, Any]) -> str:
    rows = [[entry["part"], SECONDS.format(entry["seconds"]), f"{entry['share']:.0%}"] for entry in result["time"]]
    return rows_of([f"decoding {result['first_image']}, one thread", "seconds", "share"], rows)


def _ladder(ladder: dict[str, Any]) -> str:
    rows = [[r["rung"], BPSP.format(r["bpsp"]), _number("{:+.2f} %", r["increment_percent"])] for r in ladder["rungs"]]
    count = ladder["images"]
    if not count:
        return f"Ladder: {ladder['note']}"
    text = rows_of([f"mean of {count} image{'s' * (count > 1)}", "bpsp", "adds"], rows)
    return f"{text}\n\n- {ladder['note']}" if ladder["note"] else text


def _images(result: dict[str, Any]) -> str:
    names = [name for name, _ in _by_size(result)]
    rows = [[image["name"], *(BPSP.format(image["codecs"][name]["bpsp"]) for name in names)] for image in result["images"]]
    return rows_of(["bpsp", *names], rows)
