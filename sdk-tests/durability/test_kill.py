# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""The real server is killed at random instants; nothing that it acknowledged is lost."""

import os
import time

import pytest

from durability.crash import Crash

ROUNDS = int(os.environ.get("ROOST_CRASH_ROUNDS", "20"))


@pytest.mark.timeout(900)
def test_what_was_acknowledged_survives_sigkill_at_any_instant(tmp_path):
    seed = int(os.environ.get("ROOST_CRASH_SEED", time.time()))
    print(f"ROOST_CRASH_SEED={seed} repeats this")
    crash = Crash(tmp_path, seed)
    try:
        for number in range(ROUNDS):
            crash.round()
            print(f"round {number + 1}: {crash.acknowledged} acknowledged")
        crash.check_everything_again()
    finally:
        crash.close()
