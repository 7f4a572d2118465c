# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""`roost simulate`: what its devices do, as the service SDKs see it."""

import contextlib
import json
import signal
import subprocess
import time

import pytest
from azure.iot.hub.models import Twin, TwinProperties

from support import devices
from support.program import program
from support.reading import eventually, read


@contextlib.contextmanager
def simulation(hub, *arguments):
    """Runs simulated devices; yields their process, and ends it if the test did not."""
    command = [str(program()), "simulate", "--data", str(hub.data), "--progress", "0.1", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finish(process):
    """Interrupts the devices as Ctrl-C does and returns what they say they did."""
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    return json.loads(out), error


@pytest.fixture
def registry(hub):
    return devices.registry(hub)


def is_there(registry, *ids):
    return set(ids) <= {device.device_id for device in registry.get_devices()}


def reported(registry, device):
    properties = registry.get_twin(device).properties.reported
    return {name: value for name, value in properties.items() if not name.startswith("$")}


def test_devices_are_made_send_their_template_and_are_deleted(hub, registry):
    template = '{"id":"{{device}}","n":{{counter}},"at":{{milliseconds}},"t":{{random 1.0 2.0}}}'
    arguments = ["--devices", "3", "--prefix", "made-", "--interval", "0.1", "--template", template, "--delete"]
    with simulation(hub, *arguments, "--property", "kind=test") as process:
        eventually(lambda: is_there(registry, "made-0", "made-1", "made-2"))
        # The newer library hands out nothing of a steady trickle before it has read 300 frames.
        events = read(hub, 3, kind="uamqp", device="made-1", partition_id=str(devices.partition("made-1")))
        said, progress = finish(process)
    for number, event in enumerate(events, 1):
        body = json.loads(event.body)
        assert body["id"] == "made-1"
        assert body["n"] == number
        assert 1 <= body["t"] <= 2
        assert abs(body["at"] / 1000 - time.time()) < 60
        assert event.properties["kind"] == "test"
    assert said["devices"] == said["signIns"] == 3
    assert said["acknowledged"] >= 9
    assert said["errors"] == said["failedSignIns"] == said["lostConnections"] == 0
    assert "connected 3/3" in progress
    assert not any(is_there(registry, f"made-{n}") for n in range(3))


def test_desired_properties_are_reported_as_they_are(hub, registry, device):
    # What is desired before the device connects is reported too.
    registry.update_twin(device.id, Twin(properties=TwinProperties(desired={"before": {"x": 1.5}})), "*")
    with simulation(hub, device.id, "--existing", "--quiet") as process:
        eventually(lambda: reported(registry, device.id) == {"before": {"x": 1.5}})
        registry.update_twin(device.id, Twin(properties=TwinProperties(desired={"now": [1, "two"]})), "*")
        eventually(lambda: reported(registry, device.id) == {"before": {"x": 1.5}, "now": [1, "two"]})
        said, _ = finish(process)
    assert said["desired"] == 1
    assert said["reported"] == 2
    assert said["messages"] == 0


def test_a_device_that_is_not_there_is_told_and_none_is_made(hub, registry):
    with simulation(hub, "nowhere-1", "--existing") as process:
        out, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert "DeviceNotFound" in error
    assert not is_there(registry, "nowhere-1")


def test_devices_come_back_when_the_hub_does(own_hub):
    own_hub.start()
    with simulation(own_hub, "--devices", "2", "--interval", "0.1") as process:
        eventually(lambda: own_hub.run("device", "list").count(" Connected ") == 2)
        own_hub.kill()
        own_hub.start()
        eventually(lambda: own_hub.run("device", "list").count(" Connected ") == 2)
        said, progress = finish(process)
    assert said["lostConnections"] == 2
    assert said["signIns"] == 4
    assert "the first failure: " in progress
