"""Run a command under the system call filter of a systemd unit, without systemd.

Applies the unit's `SystemCallFilter`, `RestrictAddressFamilies` and `MemoryDenyWriteExecute` as
systemd would. systemd-analyze expands the groups of system calls, such as `@system-service`.

    python seccomp_run.py UNIT COMMAND …
"""

import ctypes
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
EQUAL = 4  # SCMP_CMP_EQ
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65


class Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`: a condition on an argument of a system call."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def read_setting(unit: str, name: str) -> list[str]:
    """Return the values of a unit's setting, one per line that sets it."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def expand_group(group: str) -> set[str]:
    """Return the system calls of a group (`@…`), or the single call that is named."""
    if not group.startswith("@"):
        return {group}
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True
    ).stdout
    names = [line.strip() for line in listing.splitlines()[1:]]
    calls: set[str] = set()
    for name in names:
        if name and not name.startswith("#"):
            calls |= expand_group(name)
    return calls


def find_allowed_calls(unit: str) -> set[str]:
    """Return the system calls that the unit allows."""
    allowed: set[str] = set()
    for line in read_setting(unit, "SystemCallFilter"):
        for group in line.removeprefix("~").split():
            allowed = (
                allowed - expand_group(group)
                if line.startswith("~")
                else allowed | expand_group(group)
            )
    return allowed | expand_group("@default")


def confine(unit: str) -> None:
    """Apply the unit's filter to this process and to the programs that it executes."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    families = [
        int(getattr(socket, name))
        for name in read_setting(unit, "RestrictAddressFamilies")[0].split()
    ]
    for name in find_allowed_calls(unit):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # a system call of another architecture
        if name == "socket":
            for family in families:
                equal = Comparison(0, EQUAL, family, 0)
                status = library.seccomp_rule_add_array(
                    context, ctypes.c_uint32(ALLOW), number, 1, ctypes.byref(equal)
                )
                assert status == 0
        else:
            assert (
                library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None)
                == 0
            )
    kernel = ctypes.CDLL(None)
    assert kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if read_setting(unit, "MemoryDenyWriteExecute") == ["yes"]:
        kernel.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # fails on older kernels, which lack it
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], sys.argv[2:])
