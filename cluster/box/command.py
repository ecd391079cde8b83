"""Runs a command in the namespaces of a process and ends as the command does.

usage: command.py [--last PIPE BOX_SH] PROCESS FOLDER COMMAND...

FOLDER is the command's working directory, looked up in the namespaces. Input, output and environment are ours. A signal to
us goes to the command, once; when we are killed, so is the command. Exit: the command's own code, 128 + n after signal n,
126 or 127 when it cannot be started, 2 when FOLDER is not there.

With --last, `BOX_SH down $CSKD_BOX` follows the command, which does not get the descriptor PIPE.

nsenter is no substitute: it passes no signals on, and dies of one that the whole process group gets.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

KINDS = ("ipc", "uts", "net", "mnt")
PASSED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
SENT_BY_TERMINAL = 0x80  # SI_KERNEL
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: int) -> None:
    if libc.setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_foreground() -> bool:
    """Whether the keyboard's signals come to our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def complain(text: str, code: int) -> None:
    print(f"box.sh: {text}", file=sys.stderr, flush=True)
    os._exit(code)


def become(command: list[str], folder: str, namespaces: list[int], root: int) -> None:
    """In the child."""
    for namespace in namespaces:
        enter(namespace)
    os.fchdir(root)
    os.chroot(".")
    try:
        os.chdir(folder)
    except OSError:
        complain(
            f"the box has no {folder}, since its /tmp, /run and /dev/shm are its own\n"
            "        start the command from another folder",
            2,
        )
    try:
        os.execvp(command[0], command)
    except OSError as error:
        complain(f"{command[0]}: {error.strerror}", 127 if isinstance(error, FileNotFoundError) else 126)


def start(process: str, folder: str, command: list[str], foreground: bool, mask: set[int], last: int | None) -> int:
    """The child's PID."""
    # Descriptors of Python's are closed by exec.
    namespaces = [os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY) for kind in KINDS]
    root = os.open(f"/proc/{process}/root", os.O_PATH)
    own, theirs = (os.open(f"/proc/{which}/ns/pid", os.O_RDONLY) for which in ("self", process))
    parent, alive = os.pipe()
    enter(theirs)  # only children get into it
    child = os.fork()
    if child:
        enter(own)
        return child

    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(alive)
    if select.select([parent], [], [], 0)[0]:  # our parent has ended before that
        os._exit(1)
    if last is not None:
        os.close(last)
    if not foreground:  # or a signal to our parent's process group would come twice
        os.setpgid(0, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    become(command, folder, namespaces, root)


def run(process: str, folder: str, command: list[str], last: int | None) -> int:
    """The command's exit code."""
    foreground = in_foreground()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    try:
        child = start(process, folder, command, foreground, mask, last)
    except OSError as error:
        print(f"box.sh: the box, or the host, has just ended ({error})", file=sys.stderr)
        return 1
    while True:
        signal_in = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if signal_in.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif not (foreground and signal_in.si_code == SENT_BY_TERMINAL):
            os.kill(child, signal_in.si_signo)


def main() -> int:
    last, script, words = None, None, sys.argv[1:]
    if words[0] == "--last":
        last, script, words = int(words[1]), words[2], words[3:]
    process, folder, *command = words
    code = run(process, folder, command, last)
    if script and subprocess.run([script, "down", os.environ["CSKD_BOX"]]).returncode != 0:
        return code or 1
    return code


sys.exit(main())
