# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The real server is killed while commands flow: none that it accepted is lost, and feedback tells how each ended."""

import contextlib
import os
import random
import threading
import time
import uuid

import pytest
from proton import ProtonException

from support import mqtt
from support.devices import make_device, registry
from support.program import Hub
from support.reading import eventually
from support.services import Feedback, command, connection
from support.together import start

ROUNDS = int(os.environ.get("ROOST_CRASH_ROUNDS", "20"))
DEVICES = 3


class Commanded:
    """One device and the service that commands it, over all rounds: what was accepted and what arrived."""

    def __init__(self, hub):
        self.hub, self.device = hub, make_device(hub, "commanded")
        self.accepted: list[str] = []
        self.arrived: list[str] = []

    def send(self):
        """Sends commands until the connection breaks; notes what was accepted."""
        try:
            sending = connection(self.hub, plain=True)
            sender = sending.create_sender("/messages/devicebound")
            while True:
                if len(self.accepted) - len(set(self.arrived)) > 30:
                    time.sleep(0.01)
                    continue
                message_id = str(uuid.uuid4())
                sender.send(command(self.device, message_id.encode(), message_id))
                self.accepted.append(message_id)
        except ProtonException:
            return

    def take(self, until=None):
        """Takes and acknowledges commands until the connection breaks or it has what it waits for."""
        try:
            with self.device.sign_in(plain=True) as peer:
                peer.send(mqtt.subscribe(1, (f"devices/{self.device.id}/messages/devicebound/#", 1)))
                while not (until and until()):
                    with contextlib.suppress(TimeoutError):
                        packet = peer.receive(1)
                        if packet[0] & 0xF0 == 0x30:
                            self.arrived.append(mqtt.taken(packet)[1].decode())
                            peer.send(b"\x40\x02" + mqtt.packet_id(packet))
        except (mqtt.Closed, OSError):
            return


@pytest.mark.timeout(600)
def test_a_command_that_was_accepted_survives_sigkill_at_any_instant(tmp_path):
    seed = int(os.environ.get("ROOST_CRASH_SEED", time.time()))
    print(f"ROOST_CRASH_SEED={seed} repeats this")
    chance = random.Random(seed)
    hub = Hub(tmp_path / "data", "--plain").start()
    try:
        everyone = [Commanded(hub) for _ in range(DEVICES)]

        def accepted():
            return sum(len(each.accepted) for each in everyone)

        for _ in range(ROUNDS):
            running = [start(each.send) for each in everyone] + [start(each.take) for each in everyone]
            wanted = accepted() + chance.randrange(1, 60)
            eventually(lambda: accepted() >= wanted, 60, 0.001)  # noqa: B023
            time.sleep(chance.uniform(0, 0.02))
            hub.kill()
            for each in running:
                each.result(60)
            hub.start()
        # What is left arrives now, what had arrived without its end being kept comes again, and every command ends.
        service, drained = registry(hub), threading.Event()
        with Feedback(hub) as feedback:
            taking = [start(each.take, drained.is_set) for each in everyone]
            for each in everyone:
                eventually(lambda e=each: service.get_device(e.device.id).cloud_to_device_message_count == 0, 60)
            statuses = feedback.wait([name for each in everyone for name in each.accepted], 60)
            drained.set()
            for each in taking:
                each.result(60)
        assert {word for words in statuses.values() for word in words} == {"Success"}
        for each in everyone:
            first = list(dict.fromkeys(each.arrived))
            accepted = set(each.accepted)
            assert [name for name in first if name in accepted] == each.accepted, "each arrives, in order"
    finally:
        hub.close()
