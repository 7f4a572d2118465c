# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The real server is killed while devices report: no report that it answered is lost, and versions only rise."""

import asyncio
import dataclasses
import json
import os
import random
import time

import pytest

from durability.crash import reached
from support import mqtt
from support.devices import Device, make_device, registry
from support.program import Hub

ROUNDS = int(os.environ.get("ROOST_CRASH_ROUNDS", "20"))
DEVICES, WINDOW = 6, 4
RESULT = b"$iothub/twin/res/204/?$rid="


@dataclasses.dataclass
class Reporter:
    """One device that counts in its reported properties; what it asked for and what was answered, over all rounds."""

    device: Device
    next_number: int = 1
    answered: int = 0
    version: int = 1

    async def run(self):
        """Reports until the connection breaks, a few requests in flight."""
        hub, writer = self.device.hub, None
        in_flight = 0
        try:
            reader, writer = await asyncio.open_connection(hub.host, hub.port("mqtt"))
            subscribe = mqtt.subscribe(1, ("$iothub/twin/res/#", 0))
            writer.write(self.device.connect_packet(clean=True) + subscribe)
            assert (await self.packet(reader))[3] == 0
            assert (await self.packet(reader))[0] == 0x90
            while True:
                while in_flight < WINDOW:
                    number = self.next_number
                    self.next_number += 1
                    patch = {"n": number, "last": {f"k{number % 7}": number, f"k{(number + 3) % 7}": None}}
                    topic = f"$iothub/twin/PATCH/properties/reported/?$rid={number}"
                    writer.write(mqtt.publish(topic, json.dumps(patch).encode(), qos=0))
                    in_flight += 1
                await writer.drain()
                topic, _ = mqtt.taken(await self.packet(reader))
                assert topic.encode().startswith(RESULT), topic
                number, _, version = topic.partition("$rid=")[2].partition("&$version=")
                # Each is answered in its turn, and each has a version of its own.
                assert int(number) > self.answered
                assert int(version) > self.version
                self.answered, self.version = int(number), int(version)
                in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            return
        finally:
            if writer is not None:
                writer.close()

    @staticmethod
    async def packet(reader) -> bytes:
        head = await reader.readexactly(2)
        while head[-1] & 0x80:
            head += await reader.readexactly(1)
        length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(head[1:]))
        return head + await reader.readexactly(length)

    def check(self, service):
        """The twin has everything that was answered, and at most what was asked for."""
        reported = service.get_twin(self.device.id).properties.reported
        n, version = reported.get("n", 0), reported["$version"]
        assert self.answered <= n < self.next_number, f"{self.device.id}: answered {self.answered}, stored {n}"
        assert version >= self.version, f"{self.device.id}: version {version} after {self.version} was answered"
        if n:
            assert reported["last"][f"k{n % 7}"] == n
            assert f"k{(n + 3) % 7}" not in reported["last"]
        self.version, self.answered = version, n


@pytest.mark.timeout(600)
def test_a_report_that_was_answered_survives_sigkill_at_any_instant(tmp_path):
    seed = int(os.environ.get("ROOST_CRASH_SEED", time.time()))
    print(f"ROOST_CRASH_SEED={seed} repeats this")
    chance = random.Random(seed)
    hub = Hub(tmp_path / "data", "--plain").start()
    try:
        reporters = [Reporter(make_device(hub, "reporter")) for _ in range(DEVICES)]

        async def load():
            running = [asyncio.ensure_future(each.run()) for each in reporters]
            done = sum(each.answered for each in reporters)
            await reached(lambda: sum(each.answered for each in reporters), done + chance.randrange(1, 300))
            await asyncio.sleep(chance.uniform(0, 0.02))
            hub.kill()
            await asyncio.gather(*running)

        for _ in range(ROUNDS):
            asyncio.run(load())
            hub.start()
            service = registry(hub)
            for each in reporters:
                each.check(service)
    finally:
        hub.close()
