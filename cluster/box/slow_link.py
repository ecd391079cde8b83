"""Delays and loses what passes between two network interfaces.

usage: slow_link.py NEAR FAR DELAY LOSS      for instance: slow_link.py near far 20ms 1%

Makes the two (TAP) interfaces, which vanish with this process, and hands each Ethernet frame of one to the other after
DELAY, except a share LOSS of them. Many kernels, those of small virtual machines above all, come without tc's netem.
"""

import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST_FRAME = 65536
QUEUE_BYTES = 32 << 20  # what waits in one direction; as with a full switch, more is lost
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def seconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * UNITS[unit]


def open_tap(name: str) -> int:
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as error:
        sys.exit(f"a slow link needs TAP interfaces (modprobe tun): {error}")
    return tap


class Direction:
    """Frames from one interface to the other, in order."""

    def __init__(self, source: int, sink: int, delay: float, loss: float) -> None:
        self.source, self.sink, self.delay, self.loss = source, sink, delay, loss
        self.queue = collections.deque()
        self.queued_bytes = 0

    def take(self) -> None:
        for _ in range(256):
            try:
                frame = os.read(self.source, LONGEST_FRAME)
            except OSError:  # none left, or the interface is down
                return
            if random.random() >= self.loss and self.queued_bytes + len(frame) <= QUEUE_BYTES:
                self.queue.append((time.monotonic() + self.delay, frame))
                self.queued_bytes += len(frame)

    def give(self) -> None:
        now = time.monotonic()
        while self.queue and self.queue[0][0] <= now:
            frame = self.queue.popleft()[1]
            self.queued_bytes -= len(frame)
            try:
                os.write(self.sink, frame)
            except OSError:  # the interface is down: lost
                pass


def main() -> None:
    near_name, far_name, delay, loss = sys.argv[1:]
    near, far = open_tap(near_name), open_tap(far_name)
    ways = [
        Direction(*ends, seconds(delay), float(loss.removesuffix("%")) / 100) for ends in ((near, far), (far, near))
    ]
    while True:
        due = [way.queue[0][0] for way in ways if way.queue]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select([near, far], [], [], wait)
        for way in ways:
            if way.source in ready:
                way.take()
            way.give()


main()
