# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Kills the real server under load, again and again, and checks that everything it acknowledged is there.

Several devices publish numbered messages with QoS 1 over the plain listener and note each PUBACK. At a random instant
the server gets SIGKILL. It is started again and all partitions are read back with the official reader. Then, per
device, the stored numbers must rise without a repetition and contain every acknowledged number; per partition, the
sequence numbers must follow each other without a gap or a second use. SIGKILL leaves the page cache alone, so this
shows what the program does, not what the disk keeps: the fake disk of the event log's own tests shows that.

Run by hand: scripts/crash ROUNDS [--seed SEED].
"""

import argparse
import asyncio
import dataclasses
import os
import pathlib
import random
import struct
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import mqtt  # noqa: E402
from support.devices import Device, make_device  # noqa: E402
from support.program import Hub  # noqa: E402
from support.reading import Reading, client  # noqa: E402

DEVICES = 6
WINDOW = 16


async def reached(count, wanted: int):
    """Waits until so much is done, however slow the machine: a round that is over before it began shows nothing."""
    deadline = time.monotonic() + 60
    while count() < wanted:
        assert time.monotonic() < deadline, f"{count()} of {wanted} in a minute"
        await asyncio.sleep(0.001)


@dataclasses.dataclass
class Publisher:
    """One device: what it sent and what the server acknowledged, over all rounds."""

    device: Device
    next_number: int = 0
    acknowledged: set = dataclasses.field(default_factory=set)
    window: int = WINDOW

    async def run(self):
        """Publishes until the connection breaks."""
        hub = self.device.hub
        reader = writer = None
        in_flight = {}
        packet_id = 0
        try:
            reader, writer = await asyncio.open_connection(hub.host, hub.port("mqtt"))
            writer.write(self.device.connect_packet(clean=True))
            if (await reader.readexactly(4))[3] != 0:
                raise AssertionError(f"{self.device.id} was refused after a restart")
            while True:
                while len(in_flight) < self.window:
                    packet_id = packet_id % 65535 + 1
                    body = b"%s %d " % (self.device.id.encode(), self.next_number)
                    body += b"." * random.choice([0, 10, 200, 1000])
                    writer.write(mqtt.publish(self.device.topic, body, packet_id=packet_id))
                    in_flight[packet_id] = self.next_number
                    self.next_number += 1
                await writer.drain()
                answer = await reader.readexactly(4)
                assert answer[:2] == b"\x40\x02", answer.hex()
                (acknowledged,) = struct.unpack(">H", answer[2:])
                self.acknowledged.add(in_flight.pop(acknowledged))
                # A server in a debug build is slow; do not let one round store more than can be read back quickly.
                await asyncio.sleep(0.0005)
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            return
        finally:
            if writer is not None:
                writer.close()


class Crash:
    """Rounds of load, kill, restart and reading back, on one data directory."""

    def __init__(self, folder: pathlib.Path, seed: int, devices: int = DEVICES):
        self.random = random.Random(seed)
        random.seed(seed)
        self.hub = Hub(folder / "data", "--plain").start()
        self.publishers = [Publisher(make_device(self.hub, "crash")) for _ in range(devices)]
        self.stored = {publisher.device.id: [] for publisher in self.publishers}
        self.next_sequence_number = {}

    def round(self):
        asyncio.run(self._load())
        self.hub.start()
        self._read_back()
        self.check()

    async def _load(self):
        running = [asyncio.ensure_future(publisher.run()) for publisher in self.publishers]
        await reached(lambda: self.acknowledged, self.acknowledged + self.random.randrange(1, 600))
        await asyncio.sleep(self.random.uniform(0, 0.02))
        self.hub.kill()
        await asyncio.gather(*running)

    def _read_back(self):
        """Reads each partition from where the last round ended to its end, checking the sequence numbers."""
        with client(self.hub) as consumer:
            ends = {
                partition: consumer.get_partition_properties(partition)["last_enqueued_sequence_number"]
                for partition in consumer.get_partition_ids()
            }
        for partition, last in ends.items():
            first = self.next_sequence_number.get(partition, 0)
            assert last >= first - 1, f"partition {partition} ends at {last}, it had reached {first - 1}"
            if last < first:
                continue
            position = {"starting_position": first - 1} if first else {"starting_position": "-1"}
            with Reading(
                self.hub, kind="uamqp", enough=last - first + 1, partition_id=partition, **position
            ) as reading:
                events = reading.wait(120)
            numbers = [event.sequence_number for event in events]
            assert numbers[: last - first + 1] == list(range(first, last + 1)), f"partition {partition}"
            for event in events[: last - first + 1]:
                name, number, _ = event.body.split(b" ", 2)
                assert name.decode() == event.device
                self.stored[event.device].append(int(number))
            self.next_sequence_number[partition] = last + 1

    def check(self):
        for publisher in self.publishers:
            stored = self.stored[publisher.device.id]
            assert all(a < b for a, b in zip(stored, stored[1:], strict=False)), (
                f"{publisher.device.id}: out of order or stored twice"
            )
            lost = publisher.acknowledged - set(stored)
            assert not lost, f"{publisher.device.id}: acknowledged and not stored: {sorted(lost)[:10]}"

    def check_everything_again(self):
        """Reads the whole log from its first event once more and compares it with what the rounds saw."""
        before = {name: list(numbers) for name, numbers in self.stored.items()}
        self.stored = {name: [] for name in before}
        self.next_sequence_number = {}
        self._read_back()
        assert self.stored == before, "the log changed after it had been read"

    @property
    def acknowledged(self) -> int:
        return sum(len(publisher.acknowledged) for publisher in self.publishers)

    def close(self):
        self.hub.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--program", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.program:
        os.environ["ROOST_PROGRAM"] = str(arguments.program.resolve())
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        crash = Crash(pathlib.Path(folder), arguments.seed)
        try:
            for number in range(1, arguments.rounds + 1):
                crash.round()
                print(f"round {number}: {crash.acknowledged} acknowledged, all stored", flush=True)
            crash.check_everything_again()
        finally:
            crash.close()
    print(f"{arguments.rounds} rounds passed, {crash.acknowledged} messages acknowledged, none lost")


if __name__ == "__main__":
    main()
