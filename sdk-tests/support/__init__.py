# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What the tests share: the program under test, tokens, raw protocol peers and readers of events."""
