"""A unit of constant bandwidth that checks the steps it is asked for, and fails when it is told to."""

import os
import time

from pythonfmu import Boolean, Fmi2Causality, Fmi2Slave, Fmi2Variability, Integer, Real, String


class Steady(Fmi2Slave):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gb_s, self.fault, self.ranks, self.steps, self.latest_s = 100.0, "", 1, 0, 0.0
        self.doubled, self.worst_s, self.ambient_c = False, 0.0, 45.0
        fixed = {"causality": Fmi2Causality.parameter, "variability": Fmi2Variability.fixed}
        self.register_variable(Real("gb_s", **fixed))
        self.register_variable(String("fault", **fixed))
        self.register_variable(Integer("ranks", **fixed))
        self.register_variable(Boolean("doubled", **fixed))
        self.wanted_bytes = self.done_bytes = 0.0
        self.register_variable(Real("wanted_bytes", causality=Fmi2Causality.input))
        self.register_variable(Real("ambient_c", causality=Fmi2Causality.input))
        for name in ("done_bytes", "latest_s", "worst_s"):
            self.register_variable(Real(name, causality=Fmi2Causality.output))
        self.register_variable(Integer("steps", causality=Fmi2Causality.output, variability=Fmi2Variability.discrete))

    def exit_initialization_mode(self):
        if self.gb_s <= 0:
            raise ValueError("no bandwidth")
        if self.fault == "never begins":
            time.sleep(3600)

    def do_step(self, current_time, step_size):
        self.worst_s = max(self.worst_s, abs(current_time - self.latest_s))  # steps follow one another
        self.latest_s = current_time + step_size
        self.steps += 1
        rate = self.gb_s * self.ranks * (2 if self.doubled else 1) * 1e9
        self.done_bytes = min(self.wanted_bytes, rate * step_size)
        if self.fault and self.wanted_bytes:
            self.fail()
        return self.fault != "discards" or not self.wanted_bytes

    def fail(self):
        if self.fault == "raises":
            raise ValueError("out of sand")
        if self.fault == "crashes":
            os.abort()
        if self.fault == "hangs":
            time.sleep(3600)
        self.done_bytes = {
            "too much": 2 * self.wanted_bytes,
            "negative": -1.0,
            "nan": float("nan"),
            "stalls": 0.0,
        }.get(self.fault, self.done_bytes)
