# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""A network that fails on command: a TCP relay in front of a hub that can cut, stall and refuse."""

import contextlib
import selectors
import socket
import struct
import threading
import time

UP, DOWN = "up", "down"


class _Pair:
    """One relayed connection: the client's socket and the hub's."""

    def __init__(self, client: socket.socket, hub: socket.socket):
        self.client, self.hub = client, hub
        self.waiting = {UP: bytearray(), DOWN: bytearray()}
        self.ended = {UP: False, DOWN: False}

    def ends(self, direction: str) -> tuple[socket.socket, socket.socket]:
        return (self.client, self.hub) if direction == UP else (self.hub, self.client)

    def reset(self):
        """Ends both sides as a broken network does: with a reset, and what was under way is lost."""
        for each in (self.client, self.hub):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


class Proxy:
    """Listens on an address of its own and relays to the same ports of the hub.

    One thread does all the work, so that a command has taken effect when its call returns.
    """

    def __init__(self, address: str, hub, ports: tuple[str, ...] = ("mqtts", "https", "amqps")):
        self.address, self.hub = address, hub
        self._names = {hub.port(name): name for name in ports}
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._pairs: list[_Pair] = []
        self._lock = threading.RLock()
        self._stalled: set[str] = set()
        self._relayed = {UP: 0, DOWN: 0}
        self._cut_after: dict[str, int] = {}
        self.connections = 0
        self._ended = False
        self.accept()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # Commands.

    def accept(self):
        """Takes connections, as at the start."""
        with self._lock:
            if self._listeners:
                return
            for port in self._names:
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self.address, port))
                listener.listen(64)
                listener.setblocking(False)
                self._listeners.append(listener)

    def refuse(self):
        """Takes no new connections any more: they are refused at once."""
        with self._lock:
            for listener in self._listeners:
                listener.close()
            self._listeners.clear()

    def cut(self):
        """Ends every connection with a reset."""
        with self._lock:
            for pair in self._pairs:
                pair.reset()
            self._pairs.clear()
            self._cut_after.clear()

    def cut_after(self, count: int, direction: str = UP):
        """Cuts everything once so many more bytes have gone in that direction: in the middle of a flow."""
        with self._lock:
            self._cut_after[direction] = self._relayed[direction] + count

    def stall(self, *directions: str):
        """Holds back what is sent in these directions (both unless told), on old and new connections."""
        with self._lock:
            self._stalled = set(directions or (UP, DOWN))

    def resume(self):
        """Lets everything flow again, also what was held back."""
        with self._lock:
            self._stalled = set()

    def wait_for_connections(self, count: int, timeout: float = 30):
        """Waits until so many connections have been made since the start."""
        deadline = time.monotonic() + timeout
        while self.connections < count:
            assert time.monotonic() < deadline, f"only {self.connections} connections in {timeout} s"
            time.sleep(0.01)

    def wait_for_silence(self, direction: str, seconds: float = 0.5, timeout: float = 30):
        """Waits until nothing has gone in that direction for so long."""
        deadline = time.monotonic() + timeout
        relayed, since = self._relayed[direction], time.monotonic()
        while time.monotonic() - since < seconds:
            assert time.monotonic() < deadline, f"no silence in {timeout} s"
            time.sleep(0.01)
            if self._relayed[direction] != relayed:
                relayed, since = self._relayed[direction], time.monotonic()

    def close(self):
        self._ended = True
        self._thread.join(10)
        self.refuse()
        self.cut()
        self._selector.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_):
        self.close()

    # The relay.

    def _run(self):
        while not self._ended:
            with self._lock:
                self._watch()
            ready = self._selector.select(0.02) if self._selector.get_map() else time.sleep(0.005) or []
            with self._lock:
                for key, _ in ready:
                    with contextlib.suppress(OSError):
                        self._serve(*key.data)

    def _watch(self):
        """Registers anew what there is to wait for; a handful of sockets, so there is no need for more."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
        wanted: dict[socket.socket, tuple[int, list]] = {}
        for listener in self._listeners:
            wanted[listener] = (selectors.EVENT_READ, ["accept", listener])
        for pair in self._pairs:
            for direction in (UP, DOWN):
                source, target = pair.ends(direction)
                if direction in self._stalled:
                    continue
                if pair.waiting[direction]:
                    mask = wanted.get(target, (0, []))[0] | selectors.EVENT_WRITE
                    wanted[target] = (mask, ["relay", pair])
                elif not pair.ended[direction]:
                    mask = wanted.get(source, (0, []))[0] | selectors.EVENT_READ
                    wanted[source] = (mask, ["relay", pair])
        for each, (mask, data) in wanted.items():
            self._selector.register(each, mask, data)

    def _serve(self, kind: str, what):
        if kind == "accept":
            self._accept(what)
        elif what in self._pairs:
            try:
                for direction in (UP, DOWN):
                    self._relay(what, direction)
            except OSError:
                self._drop(what)

    def _accept(self, listener: socket.socket):
        client, _ = listener.accept()
        try:
            hub = socket.create_connection((self.hub.host, listener.getsockname()[1]), 5)
        except OSError:
            client.close()
            return
        for each in (client, hub):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(_Pair(client, hub))
        self.connections += 1

    def _relay(self, pair: _Pair, direction: str):
        if direction in self._stalled:
            return
        source, target = pair.ends(direction)
        waiting = pair.waiting[direction]
        if not waiting and not pair.ended[direction]:
            try:
                data = source.recv(65536)
            except BlockingIOError:
                return
            if not data:
                pair.ended[direction] = True
                with contextlib.suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
                if all(pair.ended.values()):
                    self._drop(pair)
                return
            waiting += data
        limit = self._cut_after.get(direction)
        room = len(waiting) if limit is None else min(len(waiting), limit - self._relayed[direction])
        if room > 0:
            try:
                sent = target.send(waiting[:room])
            except BlockingIOError:
                return
            del waiting[:sent]
            self._relayed[direction] += sent
        if limit is not None and self._relayed[direction] >= limit:
            self.cut()

    def _drop(self, pair: _Pair):
        if pair in self._pairs:
            self._pairs.remove(pair)
            pair.reset()
