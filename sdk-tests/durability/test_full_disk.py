# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""A disk that fills up: nothing acknowledged is lost, nothing lost is acknowledged, and it works again after."""

import json
import os
import pathlib
import struct
import subprocess
import time

import pytest
from proton import ProtonException

from support import mqtt
from support.devices import make_device, registry
from support.program import Hub
from support.reading import eventually, read
from support.services import command, connection

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root"),
]
SIZE = 320 << 20
BODY = b"." * 250_000


@pytest.fixture
def small_disk(tmp_path):
    """An empty file system of 320 MiB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "roost-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def free(place: pathlib.Path) -> int:
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


def fill(place: pathlib.Path, leave: int) -> pathlib.Path:
    ballast = place / "ballast"
    with ballast.open("wb") as file:
        while (rest := free(place) - leave) > 0:
            file.write(b"\0" * min(rest, 1 << 20))
            file.flush()
    return ballast


class Sender:
    """A device that publishes large numbered messages, a few in flight, and notes what is acknowledged."""

    def __init__(self, device):
        self.device, self.sent, self.acknowledged = device, 0, []
        self.in_flight: dict[int, int] = {}
        self.peer = device.sign_in(plain=True)

    def until(self, question, seconds: float) -> bool:
        """Publishes until the question is answered with yes; False when no PUBACK came for that long."""
        while not question():
            while len(self.in_flight) < 4:
                packet_id = self.sent % 65000 + 1
                body = b"%d " % self.sent + BODY
                try:
                    self.peer.send(mqtt.publish(self.device.topic, body, packet_id=packet_id))
                except OSError:
                    return False
                self.in_flight[packet_id] = self.sent
                self.sent += 1
            if not self.take(seconds):
                return False
        return True

    def take(self, seconds: float) -> bool:
        """One PUBACK within the time."""
        try:
            answer = self.peer.receive(seconds)
        except (TimeoutError, mqtt.Closed, OSError):
            return False
        assert answer[:2] == b"\x40\x02"
        self.acknowledged.append(self.in_flight.pop(struct.unpack(">H", answer[2:])[0]))
        return True


@pytest.mark.timeout(600)
def test_a_full_disk_refuses_loses_nothing_and_works_again(small_disk, tmp_path):
    hub = Hub(small_disk / "data", "--plain")
    hub.log = tmp_path / "log"
    try:
        check(hub.start(), small_disk)
    finally:
        hub.close()


def check(hub, disk):
    sender = Sender(make_device(hub, "filling"))
    assert sender.until(lambda: len(sender.acknowledged) >= 5, 20)
    ballast = fill(disk, 4 << 20)

    # It takes what room the log already has, then stops acknowledging.
    assert not sender.until(lambda: len(sender.acknowledged) > 2000, 5), "the disk never became full"
    at_full = len(sender.acknowledged)
    assert hub.get("/readyz")[0] == 503
    assert hub.get("/healthz")[0] == 200

    # Meanwhile readers read what was acknowledged, and devices are let in or put off, not told that they are unknown.
    events = read(
        hub, at_full, kind="uamqp", device=sender.device.id, partition_id=sender.device.partition, timeout=120
    )
    assert [number(event) for event in events][:at_full] == sender.acknowledged
    other = registry(hub)
    assert other.get_device(sender.device.id).status == "enabled"
    try:
        with mqtt.Peer(hub) as peer:
            answer = peer.send(sender.device.connect_packet(clean=True)).receive(10)
            assert answer[3] in (0, 3)
    except (mqtt.Closed, TimeoutError):
        pass

    # Space returns: ingestion goes on by itself, on the same connection or on a new one.
    ballast.unlink()
    eventually(lambda: hub.get("/readyz")[0] == 200, 30)
    sender.peer.close()
    sender = again(sender)
    assert sender.until(lambda: len(sender.acknowledged) >= at_full + 20, 20)

    # What was acknowledged before, during and after is there, in order, also after a restart.
    sender.peer.close()
    hub.stop()
    hub.start()
    wanted = set(sender.acknowledged)
    events = read(
        hub, lambda all_: {number(event) for event in all_} >= wanted, kind="uamqp", device=sender.device.id,
        partition_id=sender.device.partition, timeout=180,
    )  # fmt: skip
    numbers = [number(event) for event in events]
    assert numbers == sorted(set(numbers))
    sequence = [event.sequence_number for event in events]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))


def again(old: Sender) -> Sender:
    """The same device on a new connection; what was in flight on the old one is not repeated."""
    new = Sender(old.device)
    new.sent, new.acknowledged = old.sent, old.acknowledged
    return new


def number(event) -> int:
    return int(event.body.split(b" ", 1)[0])


@pytest.mark.timeout(300)
def test_a_full_disk_refuses_reports_and_commands_keeps_what_it_took_and_works_again(small_disk, tmp_path):
    hub = Hub(small_disk / "data", "--plain")
    hub.log = tmp_path / "log"
    try:
        check_state(hub.start(), small_disk)
    finally:
        hub.close()


class Reporter:
    """A device that reports a number in enough text to fill pages, and notes what was answered."""

    def __init__(self, device):
        self.device, self.peer, self.number, self.answered = device, None, 0, 0

    def report(self) -> bool:
        """Whether a report is answered with success; on a new connection where the old one ended."""
        try:
            if self.peer is None:
                self.peer = self.device.sign_in(plain=True)
                self.peer.send(mqtt.subscribe(1, ("$iothub/twin/res/#", 0)))
                assert self.peer.receive()[:2] == b"\x90\x03"
            self.number += 1
            patch = {"n": self.number, **{f"text{k}": chr(97 + self.number % 26) * 4000 for k in range(7)}}
            topic = f"$iothub/twin/PATCH/properties/reported/?$rid={self.number}"
            answer, body = mqtt.taken(
                self.peer.send(mqtt.publish(topic, json.dumps(patch).encode(), qos=0)).receive(10)
            )
        except (mqtt.Closed, TimeoutError, OSError, AssertionError):
            self.peer = None
            return False
        if answer.startswith(f"$iothub/twin/res/204/?$rid={self.number}&"):
            self.answered = self.number
            return True
        status = int(answer.removeprefix("$iothub/twin/res/").partition("/")[0])
        assert status >= 500, answer
        assert json.loads(body)["errorCode"] // 1000 == status
        return False


def send_to(hub, device) -> None:
    sending = connection(hub, plain=True)
    try:
        sending.create_sender("/messages/devicebound").send(command(device, b"once", "once"))
    finally:
        sending.close()


def waiting(hub, device) -> int:
    """How many commands wait for a device, those that it has not settled included."""
    return registry(hub).get_device(device.id).cloud_to_device_message_count


def check_state(hub, disk):
    reporter, commanded = Reporter(make_device(hub, "reporting")), make_device(hub, "commanded")
    accepted = []

    def send() -> bool:
        """Whether a command is accepted; on a connection of its own, for a refusal may end it."""
        message_id = f"m-{len(accepted)}-{time.monotonic()}"
        try:
            sending = connection(hub, plain=True)
            try:
                sending.create_sender("/messages/devicebound").send(command(commanded, b"." * 60_000, message_id))
            finally:
                sending.close()
        except ProtonException:
            return False
        accepted.append(message_id)
        return True

    assert reporter.report()
    assert send()
    # This one is on its way to a device when the disk fills up.
    settling = make_device(hub, "settling")
    peer = settling.sign_in(plain=True)
    peer.send(mqtt.subscribe(1, (f"devices/{settling.id}/messages/devicebound/#", 1)))
    assert peer.receive()[:2] == b"\x90\x03"
    send_to(hub, settling)
    delivered = peer.receive()
    assert waiting(hub, settling) == 1
    ballast = fill(disk, 0)
    refused = [reporter.report() for _ in range(300)].count(False)
    assert refused > 0, "the disk never became full"
    for _ in range(20):
        if not send():
            break
    else:
        raise AssertionError("commands were accepted without room")
    # What the device settles now is settled: it does not come again.
    peer.send(b"\x40\x02" + mqtt.packet_id(delivered))
    eventually(lambda: waiting(hub, settling) == 0, 30, 0.2)
    peer.close()
    # What was answered is what is read, while the disk is full.
    reported = registry(hub).get_twin(reporter.device.id).properties.reported
    assert reported["n"] >= reporter.answered
    assert hub.get("/healthz")[0] == 200

    ballast.unlink()
    eventually(reporter.report, 30, 0.2)
    eventually(send, 30, 0.2)
    hub.stop()
    hub.start()
    reported = registry(hub).get_twin(reporter.device.id).properties.reported
    assert reported["n"] >= reporter.answered
    with commanded.sign_in(plain=True) as peer:
        peer.send(mqtt.subscribe(1, (f"devices/{commanded.id}/messages/devicebound/#", 1)))
        assert peer.receive()[:2] == b"\x90\x03"
        arrived = []
        while len(arrived) < len(accepted):
            packet = peer.receive()
            bag = mqtt.taken(packet)[0].rpartition("/")[2]
            arrived.append(dict(pair.split("=") for pair in bag.split("&"))["%24.mid"])
            peer.send(b"\x40\x02" + mqtt.packet_id(packet))
            arrived = [each for each in arrived if each in accepted]
    assert arrived == accepted
