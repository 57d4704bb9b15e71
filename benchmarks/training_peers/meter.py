"""How fast a trainer takes in target tokens, measured alike in every trainer: this file is all that they share."""

import json
import time


class Finished(Exception):  # noqa: N818 - no error
    """Ends training: enough was measured."""


class Meter:
    """Counts target tokens (EOS included, padding not) of whole updates, from the end of the warm-up on."""

    def __init__(self, *, warmup: int, seconds: float) -> None:
        self.warmup, self.seconds = warmup, seconds
        self.updates, self.tokens, self.waiting = 0, 0, 0
        self.began, self.began_cpu = 0.0, 0.0

    def tick(self, tokens: int) -> None:
        """To be called once an update, at the same place of it, with the update's tokens.

        Raises:
            Finished: the time is over; the report has been printed.
        """
        now = time.perf_counter()
        if self.updates == self.warmup:
            self.began, self.began_cpu = now, time.process_time()
        elif self.updates > self.warmup:
            self.tokens += self.waiting
            if now - self.began >= self.seconds:
                cpu = time.process_time() - self.began_cpu
                report = {"tokens": self.tokens, "seconds": now - self.began, "cpu_seconds": cpu}
                print(json.dumps(report | {"updates": self.updates - self.warmup}), flush=True)
                raise Finished
        self.updates, self.waiting = self.updates + 1, tokens
