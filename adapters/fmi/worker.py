"""Runs in the interpreter that has FMPy: one unit, asked line by line in JSON; imports nothing of the project.

``{"ask": "open", ...}`` first, then ``step``, ``rest``, ``save`` and ``load``. Times come as whole picoseconds, and
each is made seconds from the whole: nothing is added up. The unit is unpacked in the folder this runs in.
"""

import base64
import json
import math
import sys
from difflib import get_close_matches
from pathlib import Path

PS_PER_S = 10**12
KNOWN = ("2.0", "3.0")
NUMBERS = ("Real", "Float64", "Float32")
STATUS = {2: "discards", 3: "says error at", 4: "says fatal at", 5: "leaves pending"}


class Refused(Exception):
    """What the configuration names cannot be: field, value, what is allowed."""


class Unit:
    """An instance that has been initialized at time 0."""

    def __init__(self, asked):
        import fmpy

        self._words = []
        fmu = asked["fmu"]
        described = self._described(fmpy, fmu)
        self._kinds = described.fmiVersion[0]
        self._variables = {one.name: one for one in described.modelVariables}
        self._wanted = self._variable("wanted_bytes", asked["wanted_bytes"], ("input",), NUMBERS)
        self._done = self._variable("done_bytes", asked["done_bytes"], ("output",), NUMBERS)
        shown = ("output", "local", "calculatedParameter", "parameter")
        self._outputs = [self._variable("outputs", name, shown) for name in asked["outputs"]]
        parameters = [
            (self._variable(f"parameters.{name}", name, ("parameter", "input")), value)
            for name, value in asked["parameters"].items()
        ]
        able = described.coSimulation
        self._state = able.canGetAndSetFMUstate and able.canSerializeFMUstate
        self.facts = {
            "fmi": described.fmiVersion,
            "model": described.modelName,
            "tool": described.generationTool or "",
            "variable_steps": able.canHandleVariableCommunicationStepSize,
            "snapshots": self._state,
        }
        try:
            self._begin(fmpy, fmu, described, parameters)
        except Refused:
            raise
        except Exception as error:
            raise Refused("fmu", fmu, "; ".join([f"does not begin: {_line(error)}", *self._words])) from None

    def _begin(self, fmpy, fmu, described, parameters):
        folder = str(Path(fmpy.extract(fmu, "unit")).resolve())
        self._unit = fmpy.instantiate_fmu(folder, described, "CoSimulation", logger=self._log, debug_logging=True)
        for variable, value in parameters:
            self._set_start(variable, value)
        if self._kinds == "2":
            self._unit.setupExperiment(startTime=0.0)
            self._unit.enterInitializationMode()
        else:
            self._unit.enterInitializationMode(startTime=0.0)
        self._unit.exitInitializationMode()

    def _described(self, fmpy, fmu):
        """Its model description, if it is one for us."""
        try:
            described = fmpy.read_model_description(fmu)
            platforms = fmpy.supported_platforms(fmu)
        except Exception as error:
            raise Refused("fmu", fmu, f"is no unit of FMI: {_line(error)}") from None
        if described.fmiVersion not in KNOWN:
            raise Refused("fmu", fmu, f"is of FMI {described.fmiVersion}; {' and '.join(KNOWN)} are known")
        if described.coSimulation is None:
            raise Refused("fmu", fmu, "is not for co-simulation")
        if fmpy.platform not in platforms:
            has = ", ".join(one for one in platforms if one != "c-code") or "none"
            raise Refused("fmu", fmu, f"has no binary for {fmpy.platform}; it has {has}")
        return described

    def _variable(self, field, name, causalities, types=None):
        found = self._variables.get(name)
        fitting = [one.name for one in self._variables.values() if self._fits(one, causalities, types)]
        if found is None:
            near = get_close_matches(name, fitting, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise Refused(
                field, name, f"no such variable; {hint}it has {', '.join(fitting[:20]) or 'none that would do'}"
            )
        if not self._fits(found, causalities, types):
            kind = f"{found.causality} of type {found.type}" + (", an array" if found.dimensions else "")
            needed = f"{' or '.join(causalities)}{' of type ' + '/'.join(types) if types else ''}"
            raise Refused(
                field, name, f"is {kind}, not {needed}; it has {', '.join(fitting[:20]) or 'none that would do'}"
            )
        return found

    @staticmethod
    def _fits(variable, causalities, types):
        if variable.dimensions or variable.type in ("Binary", "Clock"):
            return False
        return variable.causality in causalities and (types is None or variable.type in types)

    def _log(self, *told):
        """The unit's warnings and errors (status, category, text are last): they go into what is said of a failure."""
        text = told[-1].decode(errors="replace") if isinstance(told[-1], bytes) else str(told[-1])
        if told[-3]:
            self._words = [*self._words, " ".join(text.split())][-3:]
            print("unit:", self._words[-1], flush=True)

    def _kind(self, variable):
        """As the functions that get and set it are called."""
        if variable.type == "Enumeration":
            return "Integer" if self._kinds == "2" else "Int64"
        return variable.type

    def _set_start(self, variable, value):
        kind = self._kind(variable)
        made = {"Boolean": bool, "String": str}.get(kind, float if kind in NUMBERS else int)
        taken = (int, float) if made is float else made
        if not isinstance(value, taken) or (isinstance(value, bool) and made is not bool):
            raise Refused(f"parameters.{variable.name}", value, f"the variable is of type {variable.type}")
        self._set(variable, made(value))

    def _set(self, variable, value):
        getattr(self._unit, "set" + self._kind(variable))([variable.valueReference], [value])

    def _get(self, variable):
        (value,) = getattr(self._unit, "get" + self._kind(variable))([variable.valueReference])
        if isinstance(value, float) and not math.isfinite(value):
            raise RuntimeError(f"its {variable.name} is {value}")
        if variable.type == "Boolean":
            return bool(value)
        return value.decode() if isinstance(value, bytes) else value

    def _seen(self):
        return [self._get(one) for one in self._outputs]

    def _do_step(self, from_ps, to_ps):
        step = f"a step of {(to_ps - from_ps) / PS_PER_S:.12g} s at {from_ps / PS_PER_S:.12g} s"
        try:
            told = self._unit.doStep(from_ps / PS_PER_S, (to_ps - from_ps) / PS_PER_S, not self._state)
        except Exception as error:
            how = STATUS.get(getattr(error, "status", None), f"fails ({_line(error)}) at")
            raise RuntimeError("; ".join([f"it {how} {step}", *self._words])) from None
        if told is not None:  # FMI 3.0: event, terminate, early return, how far it got
            if told[1]:
                raise RuntimeError(f"it asks to end the simulation in {step}")
            if told[2]:
                raise RuntimeError(f"it returns early, at {told[3]:.12g} s, from {step}")

    def step(self, asked):
        self._set(self._wanted, asked["wanted"])
        self._do_step(asked["from"], asked["to"])
        return [self._get(self._done), [[one, one, one] for one in self._seen()]]

    def rest(self, asked):
        """Steps of ``part`` from one time to the other, without anything wanted; outputs: last, lowest, highest."""
        self._set(self._wanted, 0.0)
        at, most, seen = asked["from"], 0.0, []
        while at < asked["to"]:
            then = min(at + asked["part"], asked["to"])
            self._do_step(at, then)
            at, most, now = then, max(most, self._get(self._done)), self._seen()
            before = seen or [[one, one, one] for one in now]
            seen = [[b, min(a[1], b), max(a[2], b)] for a, b in zip(before, now, strict=True)]
        return [most, seen]

    def save(self, asked):
        state = self._unit.getFMUState()
        kept = base64.b64encode(self._unit.serializeFMUState(state)).decode()
        self._unit.freeFMUState(state)
        return kept

    def load(self, asked):
        state = self._unit.deserializeFMUState(base64.b64decode(asked["state"]))
        self._unit.setFMUState(state)
        self._unit.freeFMUState(state)
        return None


def _line(error):
    return " ".join(str(error).split())[:400] or type(error).__name__


def answered(unit, asked):
    """(the unit, what it is answered)."""
    if asked["ask"] != "open":
        return unit, getattr(unit, asked["ask"])(asked)
    try:
        unit = Unit(asked)
    except ImportError as error:
        return None, {"refused": ["python", sys.executable, f"has no FMPy: {_line(error)}"]}
    except Refused as refused:
        return None, {"refused": list(refused.args)}
    return unit, unit.facts


def main():
    unit = None
    for line in sys.stdin:
        try:
            unit, answer = answered(unit, json.loads(line))
            said = f"= {json.dumps(answer)}"
        except Exception as error:
            said = f"! {_line(error)}"
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
