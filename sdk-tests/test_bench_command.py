# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""`roost bench`: each load runs against the served program, tells its figures, and leaves nothing behind."""

import json
import signal
import subprocess

import pytest

from support import devices
from support.program import program
from support.reading import eventually

SHORT = ["--devices", "4", "--seconds", "0.5", "--warm-up", "0.1", "--prefix", "bench-", "--json"]


def has_devices(hub):
    return any(each.device_id.startswith("bench-") for each in devices.registry(hub).get_devices())


@pytest.mark.parametrize("load", ["connect", "twin", "c2d", "method --rate 50", "amqp"])
def test_a_load_tells_its_rate_its_latency_and_what_it_costs(hub, load):
    report = json.loads(hub.run("bench", *load.split(), *SHORT))
    assert report["operations"] > 0
    assert report["perSecond"] == pytest.approx(report["operations"] / report["seconds"])
    assert report["errors"] == report["lost"] == 0
    assert 0 < report["latency"]["p50Milliseconds"] <= report["latency"]["p99Milliseconds"]
    assert report["serverCPUMicrosecondsPerOperation"] > 0
    assert not has_devices(hub)


def test_without_a_name_it_is_telemetry_and_what_was_sent_can_be_read(hub):
    sent = json.loads(hub.run("bench", "--rate", "200", *SHORT))["publishing"]
    assert sent["messages"] > 0
    read = json.loads(hub.run("bench", "read", "--patience", "0.5", "--json"))
    assert read["operations"] >= sent["messages"]
    assert not has_devices(hub)


def test_a_load_that_the_hub_refuses_is_an_error(hub):
    code, out, error = hub.attempt("bench", "twin", "--key", "AAAA", *SHORT)
    assert (code, out) == (77, "")
    assert "refused the sign-in of device 'bench-" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("load", [[], ["twin"], ["amqp"]])
def test_a_load_that_is_interrupted_leaves_no_device_behind(hub, load, number):
    prefix = f"interrupted-{number}-{'-'.join(load)}"

    def are_there():
        return any(each.device_id.startswith(prefix) for each in devices.registry(hub).get_devices())

    command = [str(program()), "bench", *load, "--devices", "5", "--seconds", "300", "--prefix", prefix]
    running = subprocess.Popen([*command, "--data", str(hub.data)], stderr=subprocess.PIPE, text=True)
    try:
        eventually(are_there)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 130, said
        assert not are_there()
    finally:
        running.kill()
        running.wait()
