# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Fixtures: one hub per test process, a new device per test."""

import pytest

from support.devices import make_device
from support.program import Hub, may_bind_443


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """A hub with TLS and plain listeners, for all tests of this process."""
    if not may_bind_443():
        pytest.exit(
            "the service SDK only knows port 443, which this user may not bind; run as root or: "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=443",
            returncode=1,
        )
    hub = Hub(tmp_path_factory.mktemp("hub") / "data", "--plain", "--consumer-group", "second")
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture
def own_hub(tmp_path):
    """A hub for one test that stops, kills or reconfigures it; call start() first."""
    hub = Hub(tmp_path / "data", "--plain")
    try:
        yield hub
    finally:
        hub.close()


@pytest.fixture
def device(hub):
    return make_device(hub)


@pytest.fixture
def make(hub):
    """Makes more devices: make(name, status)."""
    return lambda name="device", status="enabled": make_device(hub, name, status)
