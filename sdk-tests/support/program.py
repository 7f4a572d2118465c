# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The built program, served on a loopback address of its own so that the fixed ports of the SDKs are free."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program() -> pathlib.Path:
    """The program to test: the debug build, unless ROOST_PROGRAM names another one."""
    path = pathlib.Path(os.environ.get("ROOST_PROGRAM", ROOT / ".build" / "debug" / "roost")).resolve()
    assert path.exists(), f"{path} is not built: run scripts/build-debug"
    return path


def may_bind_443() -> bool:
    """Whether this user may listen on port 443, which the service SDK can't be told to leave."""
    first = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return os.geteuid() == 0 or (first.exists() and int(first.read_text()) <= 443)


class Loopback:
    """One address of 127.0.0.0/8, held by a file lock so that no other test process uses it."""

    def __init__(self):
        folder = pathlib.Path(tempfile.gettempdir()) / f"roost-loopback-{os.geteuid()}"
        folder.mkdir(exist_ok=True)
        for last in range(2, 251):
            address = f"127.0.0.{last}"
            lock = (folder / address).open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            if self._is_free(address):
                self.address, self._lock = address, lock
                return
            lock.close()
        raise AssertionError(
            "no loopback address has the ports of a hub free: does another hub listen on all addresses?"
        )

    @staticmethod
    def _is_free(address: str) -> bool:
        for port in (8883, 5671, 443, 1883, 5672, 8080):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
        return True

    def release(self):
        self._lock.close()


class Hub:
    """A running `roost serve`."""

    def __init__(self, data: pathlib.Path, *flags: str, address: str | None = None, wrap: tuple[str, ...] = ()):
        self.data = pathlib.Path(data)
        self.flags = flags
        self.wrap = wrap
        self._loopback = None if address else Loopback()
        self.host = address or self._loopback.address
        self.process = None
        self.log = self.data.with_name(self.data.name + ".log")

    def start(self, timeout: float = 60) -> "Hub":
        """Starts the program and waits for its own word that it is ready."""
        command = [*self.wrap, str(program()), "serve", "--data", str(self.data)]
        command += ["--listen-address", self.host, "--host-name", self.host, "--metrics-port", "0", *self.flags]
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + timeout
        while b"roost is ready" not in self._said(offset):
            code = self.process.poll()
            assert code is None, f"roost ended with {code}:\n{self._said(offset).decode(errors='replace')[-3000:]}"
            assert time.monotonic() < deadline, f"not ready:\n{self._said(offset).decode(errors='replace')[-3000:]}"
            time.sleep(0.01)
        self.info = json.loads((self.data / "hub.json").read_text())
        return self

    def _said(self, offset: int) -> bytes:
        with self.log.open("rb") as file:
            file.seek(offset)
            return file.read()

    def said(self) -> str:
        """All that the program has written on its two outputs."""
        return self._said(0).decode(errors="replace")

    def kill(self):
        """Ends the server as a crash would, at once; it may be wrapped in a tracer."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.info["processID"], signal.SIGKILL)
        self.process.wait(30)

    def stop(self, timeout: float = 30) -> int:
        """Asks the server to stop and returns its exit code."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.info["processID"], signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def close(self):
        # An orderly stop waits five seconds for clients of a test that is over and answer nothing any more.
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self._loopback:
            self._loopback.release()
            # A hub takes 128 MiB of disk from its start; what it said stays beside the directory.
            shutil.rmtree(self.data, ignore_errors=True)

    # What hub.json says.

    @property
    def ca_file(self) -> str:
        return self.info["authorityFile"]

    @property
    def ca_text(self) -> str:
        return pathlib.Path(self.ca_file).read_text()

    @property
    def event_hub(self) -> str:
        return self.info["eventHubName"]

    def port(self, name: str) -> int:
        return self.info["ports"][name]

    def key(self, policy: str, which: str = "primaryKey") -> str:
        return next(each[which] for each in self.info["policies"] if each["name"] == policy)

    # Connection strings, made from hub.json so that a test can choose policy and key.

    def service(self, policy: str = "iothubowner", which: str = "primaryKey") -> str:
        return f"HostName={self.host};SharedAccessKeyName={policy};SharedAccessKey={self.key(policy, which)}"

    def events(self, policy: str = "service", which: str = "primaryKey", entity: str | None = None) -> str:
        return (
            f"Endpoint=sb://{self.host}/;SharedAccessKeyName={policy};SharedAccessKey={self.key(policy, which)}"
            f";EntityPath={entity or self.event_hub}"
        )

    def get(self, path: str) -> tuple[int, str]:
        """GET on the metrics and health port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port('metrics')}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Runs another command of the program on this hub's data directory and returns its standard output."""
        code, output, error = self.attempt(*arguments)
        assert not check or code == 0, f"roost {arguments} ended with {code}: {error}"
        return output

    def attempt(self, *arguments: str, timeout: float = 60) -> tuple[int, str, str]:
        """The same, with exit code and standard error."""
        command = [str(program()), *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr
