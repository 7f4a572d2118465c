# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Telemetry, reports, desired changes, methods and commands of several devices at the same time, through a network
that breaks in the middle: what was acknowledged is there, and each command ends once."""

import contextlib
import threading

import pytest
from azure.iot.device.exceptions import ClientError
from msrest.exceptions import HttpOperationError

from support.clients import Client, Shape
from support.proxy import DOWN, UP
from support.reading import eventually, read
from support.services import Feedback, Service
from support.together import start


class Actor:
    """One device and its back end, each of its five activities in a thread; what was acknowledged is noted."""

    def __init__(self, hub, device, shape, host):
        self.hub, self.device = hub, device
        self.client = Client(device, shape, host=host, connection_retry_interval=1)
        self.sent, self.reported, self.answered = set(), 0, 0
        self.commands, self.desired = [], 1
        self.ended = threading.Event()

    def progress(self) -> list[int]:
        """How far each activity has come, as far as it was confirmed."""
        return [len(self.sent), self.reported, self.answered, len(self.commands), self.desired]

    def begin(self):
        self.client.connect()
        self.client.listen("desired", "commands", "methods", answer=lambda request: (200, request.payload))
        return [start(each) for each in (self.telemetry, self.reports, self.calls, self.sends, self.changes)]

    def telemetry(self):
        number = 0
        while not self.ended.wait(0.01):
            with contextlib.suppress(ClientError):
                self.client.send(f"{self.device.id} {number}")
                self.sent.add(number)
            number += 1

    def reports(self):
        number = 0
        while not self.ended.wait(0.01):
            number += 1
            with contextlib.suppress(ClientError):
                self.client.report({"n": number})
                self.reported = number

    def calls(self):
        with Service(self.hub) as service:
            while not self.ended.wait(0.02):
                with contextlib.suppress(HttpOperationError):
                    number = self.answered + 1
                    assert service.invoke(self.device, "echo", number, connect_timeout_in_seconds=1).payload == number
                    self.answered = number

    def sends(self):
        with Service(self.hub) as service:
            while not self.ended.wait(0.02):
                if len(self.commands) - self.client.commands.qsize() > 30:
                    # What was not taken counts against the 50 that may wait.
                    continue
                self.commands.append(service.send(self.device, str(len(self.commands)), ack="full"))

    def changes(self):
        with Service(self.hub) as service:
            while not self.ended.wait(0.05):
                self.desired = service.update_twin(self.device, {"d": self.desired}).properties.desired["$version"]


def wait_for_progress(actor: Actor):
    """Waits until each activity went on by some steps."""
    wanted = [now + 6 for now in actor.progress()]
    eventually(lambda: all(now >= then for now, then in zip(actor.progress(), wanted, strict=True)), 60)


@pytest.mark.timeout(170)
def test_everything_at_once_with_a_network_that_breaks_in_the_middle(hub, service, make, proxy):
    shapes = [Shape(), Shape(asynchronous=True), Shape(websockets=True)]
    actors = [Actor(hub, make("actor"), shape, proxy.address) for shape in shapes]
    with Feedback(hub) as feedback, contextlib.ExitStack() as stack:
        for actor in actors:
            stack.callback(actor.client.close)
        running = [each for actor in actors for each in actor.begin()]
        for actor in actors:
            wait_for_progress(actor)
        # Without answers the clients fall silent, so that none writes in the instant of the cut: see the note in
        # test_broken_network.
        proxy.stall(DOWN)
        proxy.wait_for_silence(UP)
        proxy.cut()
        proxy.resume()
        for actor in actors:
            wait_for_progress(actor)
        for actor in actors:
            actor.ended.set()
        for each in running:
            each.result(60)

        every = [each for actor in actors for each in actor.commands]
        assert set(map(tuple, feedback.wait(every).values())) == {("Success",)}
        for actor in actors:
            device = actor.device
            eventually(lambda d=device: service.pending(d) == 0)
            taken = [int(actor.client.commands.get_nowait().data) for _ in range(actor.client.commands.qsize())]
            # Not in order, for the SDK hands what arrives to four threads.
            assert sorted(set(taken)) == list(range(len(actor.commands)))
            twin = actor.client.twin()
            assert twin["desired"]["$version"] == actor.desired
            assert twin["reported"]["n"] >= actor.reported
            assert max(notice["$version"] for notice in list(actor.client.desired.queue)) == actor.desired
            assert actor.answered > 0
    for actor in actors:
        wanted = {f"{actor.device.id} {n}".encode() for n in actor.sent}
        assert len(wanted) >= 12
        read(
            hub, lambda all_, w=wanted: {e.body for e in all_} >= w, device=actor.device.id,
            partition_id=actor.device.partition,
        )  # fmt: skip
