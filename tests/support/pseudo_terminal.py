"""A terminal of the tests: what the program writes to it, and what one sees then."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

from cskd_program import CSKD, environment


class Terminal:
    """`cskd` with its output on a pseudo-terminal."""

    def __init__(self, started, *arguments, rows=40, columns=100, env=None):
        self.leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.columns = columns
        self.process = started(
            CSKD, *map(str, arguments), stdout=follower, stderr=subprocess.PIPE, env=environment(env)
        )
        os.close(follower)
        self.chunks = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            while chunk := os.read(self.leader, 65536):
                self.chunks.append(chunk)
        except OSError:  # Linux reports the closed terminal as an input/output error
            pass

    @property
    def written(self):
        return b"".join(self.chunks).decode()

    def screen(self):
        """The lines that one sees."""
        lines, row, column = [[]], 0, 0
        for code, letter, char in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", self.written, re.DOTALL):
            while len(lines) <= row:
                lines.append([])
            if letter == "A":
                row = max(0, row - int(code))
            elif letter == "K":
                del lines[row][column:]
            elif letter == "J":
                assert code == ""  # what is below, not the whole screen, which would flicker
                del lines[row][column:], lines[row + 1 :]
            elif letter:
                assert letter == "m", letter
            elif char == "\n":
                row += 1
            elif char == "\r":
                column = 0
            else:
                lines[row].extend(" " * (column - len(lines[row])))
                lines[row][column : column + 1] = [char]
                column += 1
                assert column <= self.columns
        return ["".join(line) for line in lines if line]

    def wait_for(self, text):
        for _ in range(400):
            if any(text in line for line in self.screen()):
                return self.screen()
            time.sleep(0.05)
        raise AssertionError(f"no '{text}' in {self.screen()}")

    def end(self):
        code = self.process.wait(timeout=30)
        self.reader.join(timeout=30)
        os.close(self.leader)
        assert self.process.stderr.read() == b""
        self.process.stderr.close()
        return code
