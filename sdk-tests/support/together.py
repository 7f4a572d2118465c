# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Threads for calls that may never return: none of them can hold up the end of a test."""

import concurrent.futures
import queue
import threading
import time


def start(function, *arguments) -> concurrent.futures.Future:
    """Calls the function in a thread of its own."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def together(function, values, workers: int = 8, timeout: float = 60) -> list:
    """Calls the function with each value, so many at a time; the results in order, or the first error."""
    values = list(values)
    results: list = [None] * len(values)
    waiting = queue.SimpleQueue()
    for each in enumerate(values):
        waiting.put(each)

    def work():
        while True:
            try:
                place, value = waiting.get_nowait()
            except queue.Empty:
                return
            results[place] = function(value)

    deadline = time.monotonic() + timeout
    for each in [start(work) for _ in range(min(workers, len(values)))]:
        each.result(max(0.1, deadline - time.monotonic()))
    return results
