# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Reads a trace of system calls and finds acknowledgements written before what they acknowledge was synced."""

import dataclasses
import pathlib
import re

CALLS = "fdatasync,fsync,sync_file_range,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg"
_LINE = re.compile(r"^(\d+)\s+[\d.]+ (.*)$")
_WHOLE = re.compile(r"^(\w+)\((\d+)<([^>]*)>(.*)\)\s+= (-?\d+)")
_BEGUN = re.compile(r"^(\w+)\((\d+)<([^>]*)>(.*) <unfinished \.\.\.>$")
_ENDED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+)")


@dataclasses.dataclass
class Call:
    """One system call on a descriptor; `begun` and `ended` are places in the trace, which give the order."""

    name: str
    path: str
    arguments: str
    begun: int
    ended: int = -1
    result: int = -1


def strace(output: pathlib.Path) -> tuple[str, ...]:
    """The command that writes the trace: strings in hexadecimal, long enough for a whole small commit."""
    return ("strace", "-f", "-ttt", "-y", "-xx", "-s", "16384", "-e", f"trace={CALLS}", "-o", str(output))


def calls(trace: pathlib.Path) -> list[Call]:
    """All finished calls, with the pieces of those that another thread interrupted put together."""
    done, open_calls = [], {}
    for place, line in enumerate(trace.read_text(errors="replace").splitlines()):
        parts = _LINE.match(line)
        if not parts:
            continue
        thread, text = parts.groups()
        if whole := _WHOLE.match(text):
            name, _, path, arguments, result = whole.groups()
            done.append(Call(name, _plain(path), arguments, place, place, int(result)))
        elif begun := _BEGUN.match(text):
            name, _, path, arguments = begun.groups()
            open_calls[thread] = Call(name, _plain(path), arguments, place)
        elif (ended := _ENDED.match(text)) and thread in open_calls:
            call = open_calls.pop(thread)
            call.arguments += ended.group(2)
            call.ended, call.result = place, int(ended.group(3))
            done.append(call)
    return sorted(done, key=lambda call: call.begun)


def _plain(path: str) -> str:
    """With -xx even the names of files come in hexadecimal."""
    if "\\x" not in path:
        return path
    return bytes.fromhex(path.replace("\\x", "")).decode(errors="replace")


def hexadecimal(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def acknowledged_too_early(trace: pathlib.Path, messages: dict[bytes, bytes]) -> list[str]:
    """What is wrong, in words: messages maps a mark in a stored message to the bytes that acknowledge it."""
    everything = calls(trace)
    writes = [c for c in everything if c.name in ("write", "pwrite64", "pwritev", "pwritev2", "writev") and _is_file(c)]
    syncs = [call for call in everything if call.name in ("fdatasync", "fsync") and call.result == 0]
    answers = [call for call in everything if _is_socket(call)]
    wrong = []
    for mark, answer in messages.items():
        stored = [call for call in writes if hexadecimal(mark) in call.arguments and call.result > 0]
        told = [call for call in answers if hexadecimal(answer) in call.arguments]
        if not told:
            wrong.append(f"{mark}: no acknowledgement in the trace")
        elif not stored:
            wrong.append(f"{mark}: acknowledged and never written")
        elif not any(
            sync.path == write.path and write.ended < sync.begun and sync.ended < told[0].begun
            for write in stored
            for sync in syncs
        ):
            wrong.append(f"{mark}: acknowledged before a successful sync of {stored[0].path}")
    return wrong


def _is_file(call: Call) -> bool:
    return call.path.startswith("/") and not call.path.startswith("/dev/")


def _is_socket(call: Call) -> bool:
    return call.path.startswith(("socket:", "TCP")) and call.name in ("write", "writev", "sendto", "sendmsg")
