"""`lms-crm` for a shell without the seconds that its start takes: a process that has loaded everything forks for each command.

`python -m tests.e2e.warm_commands SOCKET` serves until it is ended; `CLIENT` is the program that a shell finds as `lms-crm`.
"""

import array
import importlib
import json
import os
import socket
import sys
from pathlib import Path

# Sends its arguments, environment, folder and its three open files, and ends as the command ended.
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect({socket!r})
    said = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    there.sendmsg([len(said).to_bytes(4)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    there.sendall(said)
    sys.exit((there.recv(1) or b"\\x63")[0])
"""

_LOADED = (
    "lms_crm_assets.cli.app",
    "lms_crm_assets.reconcile",
    "lms_crm_assets.doctor.examination",
    "lms_crm_assets.defs.daemons",
    "lms_crm_assets.backup.saving",
    "lms_crm_assets.backup.restoring",
)


def _serve(path: str) -> None:
    for module in _LOADED:
        importlib.import_module(module)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path + ".part")
        door.listen()
        Path(path + ".part").rename(path)
        while True:
            caller, _ = door.accept()
            if os.fork() == 0:
                door.close()
                os._exit(_answer(caller))
            caller.close()
            _reap()


def _answer(caller: socket.socket) -> int:
    """Run one command in a process of its own, and tell the caller how it ended."""
    files = array.array("i")
    size, ancillary, _, _ = caller.recvmsg(4, socket.CMSG_LEN(3 * files.itemsize))
    files.frombytes(ancillary[0][2])
    said = b""
    while len(said) < int.from_bytes(size):
        said += caller.recv(1 << 16)
    command = os.fork()
    if command == 0:
        caller.close()
        for here, there in enumerate(files):
            os.dup2(there, here)
        os._exit(_run(*json.loads(said)))
    _, status = os.waitpid(command, 0)
    caller.sendall(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
    return 0


def _run(words: list[str], environ: dict[str, str], folder: str) -> int:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = ["lms-crm", *words]
    main = importlib.import_module("lms_crm_assets.cli.app").main
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:  # noqa: BLE001 - as an interpreter would tell it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    _serve(sys.argv[1])
