"""Run a command under the system call filter of a systemd unit, without systemd.

`SystemCallFilter`, `RestrictAddressFamilies` and `MemoryDenyWriteExecute` of the unit, as the
kernel enforces them; what systemd's groups stand for, systemd-analyze says.

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
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def setting(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def calls_of(group: str) -> set[str]:
    if not group.startswith("@"):
        return {group}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True
    ).stdout
    names = [line.strip() for line in said.splitlines()[1:]]
    found: set[str] = set()
    for name in names:
        if name and not name.startswith("#"):
            found |= calls_of(name)
    return found


def allowed_calls(unit: str) -> set[str]:
    allowed: set[str] = set()
    for line in setting(unit, "SystemCallFilter"):
        for group in line.removeprefix("~").split():
            allowed = (
                allowed - calls_of(group) if line.startswith("~") else allowed | calls_of(group)
            )
    return allowed | calls_of("@default")


def confine(unit: str) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    families = [
        int(getattr(socket, it)) for it in setting(unit, "RestrictAddressFamilies")[0].split()
    ]
    for name in allowed_calls(unit):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # of another architecture
        if name == "socket":
            for family in families:
                equal = Comparison(0, EQUAL, family, 0)
                added = library.seccomp_rule_add_array(
                    context, ctypes.c_uint32(ALLOW), number, 1, ctypes.byref(equal)
                )
                assert added == 0
        else:
            assert (
                library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None)
                == 0
            )
    kernel = ctypes.CDLL(None)
    assert kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if setting(unit, "MemoryDenyWriteExecute") == ["yes"]:
        kernel.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # older kernels do not have it
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], sys.argv[2:])  # the command to be confined
