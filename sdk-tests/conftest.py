# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Fixtures: one hub per test process, a new device per test."""

import datetime

import pytest

from support import reading
from support.devices import make_device, make_module
from support.program import Hub, Loopback, may_bind_443
from support.proxy import Proxy
from support.services import Service


@pytest.fixture(scope="session")
def second_address():
    """An address for a proxy: a second name of the hub."""
    held = Loopback()
    yield held.address
    held.release()


@pytest.fixture(scope="session")
def hub(tmp_path_factory, second_address):
    """A hub with TLS and plain listeners, for all tests of this process."""
    if not may_bind_443():
        pytest.exit(
            "the service SDK only knows port 443, which this user may not bind; run as root or: "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=443",
            returncode=1,
        )
    flags = ("--plain", "--consumer-group", "second", "--host-name", second_address)
    hub = Hub(tmp_path_factory.mktemp("hub") / "data", *flags)
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture(autouse=True)
def read_from_here(monkeypatch):
    """Lets readers begin where the test does, and not with all that other tests have sent to the hub."""
    monkeypatch.setattr(reading, "beginning", datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1))


@pytest.fixture
def own_hub(tmp_path):
    """A hub for one test that stops, kills or reconfigures it; call start() first."""
    hub = Hub(tmp_path / "data", "--plain")
    try:
        yield hub
    finally:
        hub.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A hub that lets devices ask for faults."""
    hub = Hub(tmp_path_factory.mktemp("bench") / "data", "--plain", "--set", "faultInjection.enabled=true")
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture
def faulty(bench):
    return make_device(bench, "faulty")


@pytest.fixture
def proxy(hub, second_address):
    """A network between clients and the hub that fails on command; clients connect to its address."""
    with Proxy(second_address, hub) as made:
        yield made


@pytest.fixture
def device(hub):
    return make_device(hub)


@pytest.fixture
def make(hub):
    """Makes more devices: make(name, status)."""
    return lambda name="device", status="enabled": make_device(hub, name, status)


@pytest.fixture
def make_child():
    """Makes a module of a device: make_child(device, name)."""
    return make_module


@pytest.fixture
def service(hub, monkeypatch):
    """A back end by the service SDK; its library for HTTP and that for AMQP take the authority from two variables."""
    monkeypatch.setenv("SSL_CERT_FILE", hub.ca_file)
    with Service(hub) as made:
        yield made
