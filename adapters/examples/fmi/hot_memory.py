"""A memory that throttles when it is hot, as a unit of FMI 2.0 by PythonFMU.

One resistance and one capacity of heat: at constant power P the temperature goes to ambient + P x R, and what is left
of the way shrinks by exp(-t / tau). From ``limit_c`` on the bandwidth is ``throttled_gb_s``, until it has cooled to
``restored_c``. 85 degrees is where the normal range of DRAM ends (TOPER in JEDEC's JESD79-4); the other figures are
guesses.
"""

from math import exp

from pythonfmu import Boolean, Fmi2Causality, Fmi2Slave, Fmi2Variability, Real

PARAMETERS = {
    "gb_s": 50.0,
    "throttled_gb_s": 20.0,
    "limit_c": 85.0,
    "restored_c": 75.0,
    "ambient_c": 45.0,
    "idle_w": 2.0,
    "pj_per_byte": 200.0,
    "k_per_w": 5.0,
    "tau_s": 2.0,
}


class HotMemory(Fmi2Slave):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for name, value in PARAMETERS.items():
            setattr(self, name, value)
            fixed = {"causality": Fmi2Causality.parameter, "variability": Fmi2Variability.fixed}
            self.register_variable(Real(name, **fixed))
        self.wanted_bytes = self.done_bytes = self.temperature_c = self.power_w = 0.0
        self.throttled = False
        self.register_variable(Real("wanted_bytes", causality=Fmi2Causality.input))
        for name in ("done_bytes", "temperature_c", "power_w"):
            self.register_variable(Real(name, causality=Fmi2Causality.output))
        discrete = {"causality": Fmi2Causality.output, "variability": Fmi2Variability.discrete}
        self.register_variable(Boolean("throttled", **discrete))

    def exit_initialization_mode(self):
        """It has been idle for long."""
        self.temperature_c = self.ambient_c + self.idle_w * self.k_per_w

    def do_step(self, current_time, step_size):
        rate = 1e9 * (self.throttled_gb_s if self.throttled else self.gb_s)
        self.done_bytes = min(self.wanted_bytes, rate * step_size)
        self.power_w = self.idle_w + self.done_bytes * self.pj_per_byte * 1e-12 / step_size
        goal = self.ambient_c + self.power_w * self.k_per_w
        self.temperature_c = goal + (self.temperature_c - goal) * exp(-step_size / self.tau_s)
        if self.temperature_c >= self.limit_c:
            self.throttled = True
        elif self.temperature_c <= self.restored_c:
            self.throttled = False
        return True
