"""Runs a program under a unit's system call filter and MemoryDenyWriteExecute, without systemd.

systemd turns both into seccomp filters (seccomp-util.c); this writes the same filters in BPF. What
it leaves out: namespaces, capabilities and the file system, which take a manager as PID 1.

Usage: confined.py UNIT PROGRAM ARGUMENT ...
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ERRNO | EPERM
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
NUMBER_AT, THIRD_ARGUMENT_AT = 0, 16 + 2 * 8
WRITE, EXECUTE, SHM_EXEC = 2, 4, 0o100000


def groups() -> dict[str, set[str]]:
    """Read systemd's own groups of system calls."""
    ran = subprocess.run(
        ["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True
    )
    found: dict[str, set[str]] = {}
    name = ""
    for line in ran.stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = set()
        elif line.startswith(" ") and not line.strip().startswith("#"):
            found[name].add(line.strip())
    return found


def allowed(unit: Path) -> set[str]:
    """Give the calls that a unit's SystemCallFilter lines leave, in systemd's order."""
    known = groups()

    def members(word: str) -> set[str]:
        if not word.startswith("@"):
            return {word}
        return {call for each in known[word] for call in members(each)}

    left = members("@default")  # systemd always allows what a program begins and ends with
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        calls = {call for word in line.lstrip("~").split() for call in members(word)}
        left = left - calls if line.startswith("~") else left | calls
    return left | {"execve"}


def instruction(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, k)


def program(unit: Path) -> bytes:
    """Write the filter: no memory that is written and executed, and no call that is not listed."""
    numbers = {
        name: int(number)
        for name, number in re.findall(
            r"^#define __NR_(\w+) (\d+)$", HEADER.read_text(), re.MULTILINE
        )
    }
    written = [instruction(LOAD, NUMBER_AT)]
    if "MemoryDenyWriteExecute=yes" in unit.read_text():
        for name, bits in (("mprotect", EXECUTE), ("pkey_mprotect", EXECUTE), ("shmat", SHM_EXEC)):
            written += [
                instruction(JUMP_EQUAL, numbers[name], 0, 4),
                instruction(LOAD, THIRD_ARGUMENT_AT),
                instruction(JUMP_ANY_BIT, bits, 0, 1),
                instruction(RETURN, REFUSE),
                instruction(LOAD, NUMBER_AT),
            ]
        written += [
            instruction(JUMP_EQUAL, numbers["mmap"], 0, 5),
            instruction(LOAD, THIRD_ARGUMENT_AT),
            instruction(AND, WRITE | EXECUTE),
            instruction(JUMP_EQUAL, WRITE | EXECUTE, 0, 1),
            instruction(RETURN, REFUSE),
            instruction(LOAD, NUMBER_AT),
        ]
    for name in sorted(allowed(unit)):
        if name in numbers:
            written += [
                instruction(JUMP_EQUAL, numbers[name], 0, 1),
                instruction(RETURN, ALLOW),
            ]
    return b"".join([*written, instruction(RETURN, REFUSE)])


def confine(unit: Path) -> None:
    """Put this process, and all that it starts, under the filter for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    filters = ctypes.create_string_buffer(program(unit))
    described = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(filters.raw) // 8, ctypes.addressof(filters))
    )
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
