"""A run as a Perfetto trace: tracks of requests, instances and components, flows along causes, counters.

An onlooker writes packets as the run goes, so memory does not grow with it. Writing a slice takes some
10 us, which is why the run looked at is a replay, not the run that is timed. Perfetto's times are whole
nanoseconds: picoseconds are rounded down, begin and end alike, and every slice of an operation carries
its exact length as `took_ps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

from ..coupling.port import Item, layers
from ..lowering.work import Work
from ..power.energy import static_watts
from ..serving.replica import Replica
from ..serving.request_state import RequestState
from ..simulation import Simulation

PS_PER_NS = 1000
STEP_FLOW, REQUEST_FLOW = 1 << 60, 1 << 61  # flow ids of steps and of requests never meet


class Trace:
    """The file: tracks are made when first used. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._builder = StreamingTraceProtoBuilder(self._file)
        self._tracks: dict[tuple[str, ...], int] = {}
        self._free: dict[tuple[str, ...], list[int]] = {}  # when each of a track's rows is free again

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def track(self, *path: str, counter: str = "") -> int:
        """The track at a path of names; its parents are made, too. ``counter`` is the unit of one."""
        if path in self._tracks:
            return self._tracks[path]
        parent = self.track(*path[:-1]) if len(path) > 1 else 0
        uuid = self._tracks[path] = len(self._tracks) + 1
        packet = self._builder.create_packet()
        packet.track_descriptor.uuid = uuid
        packet.track_descriptor.name = path[-1]
        if parent:
            packet.track_descriptor.parent_uuid = parent
        if counter:
            packet.track_descriptor.counter.unit_name = counter
        self._builder.write_packet(packet)
        return uuid

    def row(self, start_ps: int, end_ps: int, *path: str) -> int:
        """A track at that path where nothing else is between these times: a row below it if need be."""
        rows = self._free.setdefault(path, [])
        for number, free in enumerate(rows):
            if free <= start_ps:
                rows[number] = end_ps
                return self.track(*path, *((f"row {number + 1}",) if number else ()))
        rows.append(end_ps)
        return self.track(*path, *((f"row {len(rows)}",) if len(rows) > 1 else ()))

    def release(self, now_ps: int, track: int, *path: str) -> None:
        """A row taken for ever by `row` is free from now on."""
        for number in range(len(self._free[path])):
            if self.track(*path, *((f"row {number + 1}",) if number else ())) == track:
                self._free[path][number] = now_ps

    def begin(self, track: int, time_ps: int, name: str, flows: Sequence[int] = (), **facts: int | str) -> None:
        event = self._event(track, time_ps, TrackEvent.Type.TYPE_SLICE_BEGIN)
        event.track_event.name = name
        event.track_event.flow_ids.extend(flows)
        for key, value in facts.items():
            annotation = event.track_event.debug_annotations.add()
            annotation.name = key
            if isinstance(value, int):
                annotation.int_value = value
            else:
                annotation.string_value = value
        self._builder.write_packet(event)

    def end(self, track: int, time_ps: int) -> None:
        self._builder.write_packet(self._event(track, time_ps, TrackEvent.Type.TYPE_SLICE_END))

    def count(self, time_ps: int, value: float, unit: str, *path: str) -> None:
        event = self._event(self.track(*path, counter=unit), time_ps, TrackEvent.Type.TYPE_COUNTER)
        event.track_event.double_counter_value = value
        self._builder.write_packet(event)

    def _event(self, track: int, time_ps: int, kind: Any) -> Any:
        packet = self._builder.create_packet()
        packet.timestamp = time_ps // PS_PER_NS
        packet.trusted_packet_sequence_id = 1
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        return packet


class Watcher:
    """Onlooker of a whole simulation; `finish` closes what the end of the run has left open."""

    def __init__(self, simulation: Simulation, trace: Trace) -> None:
        self._simulation, self.trace = simulation, trace
        self._done = 0
        self._riding: set[int] = set()  # requests that have been computed in a step
        self._moving: dict[int, list[tuple[int, int]]] = {}  # K and V of a request on their way
        self._open: dict[str, int] = {}  # operations in flight, by component
        self._instances = []
        for number, (unit, loop) in enumerate(zip(simulation.units, simulation.loops, strict=True)):
            watcher = _Instance(self, number, unit.name, loop.members)
            loop.onlooker = simulation.executors[number].listener = watcher
            self._instances.append(watcher)
        if simulation.connector:
            simulation.connector.onlooker = self
            simulation.mover.listener = self
        trace.count(0, static_watts(simulation.scenario) or 0, "W", "power", "static")

    def first_rides(self, riders: Sequence[int]) -> list[int]:
        """Those that are computed for the first time: arrows lead from them to that step."""
        fresh = [rider for rider in riders if rider not in self._riding]
        self._riding.update(fresh)
        return fresh

    def catch_up(self) -> None:
        """Requests that have ended since."""
        done = self._simulation.recorder.done
        for sequence in done[self._done :]:
            self._request(sequence, sequence.end_ps)
        self._done = len(done)

    def finish(self) -> None:
        self.catch_up()
        now = self._simulation.kernel.now_ps
        for instance in self._instances:
            instance.finish(now)
        for replica in self._simulation.replicas:
            for sequence in replica.requests():
                if sequence.origin is None and sequence.request.id in self._riding:
                    self._request(sequence, now)

    def _request(self, sequence: RequestState, end_ps: int) -> None:
        request = sequence.request
        track = self.trace.track("requests", f"request {request.id}")
        flows = [REQUEST_FLOW + request.id] if request.id in self._riding else []
        self._riding.discard(request.id)
        facts = {"input_tokens": request.input_tokens, "output_tokens": request.output_tokens}
        begin, end = self.trace.begin, self.trace.end
        begin(track, request.arrival_ps, f"request {request.id}", flows, took_ps=end_ps - request.arrival_ps, **facts)
        marks = [
            ("API server", request.arrival_ps),
            ("waiting", sequence.received_ps),
            ("prefill", sequence.scheduled_ps),
            ("decode", sequence.first_token_ps),
        ]
        reached = [(name, start) for name, start in marks if 0 <= start <= end_ps]
        for (name, start), finish in zip(reached, [*(s for _, s in reached[1:]), end_ps], strict=True):
            if name == "API server" and start == finish:
                continue  # there is none
            begin(track, start, name, took_ps=finish - start)
            if name == "decode":
                for since, until in self._moving.pop(request.id, []):
                    if start <= since and until <= finish:
                        begin(track, since, "K and V move", took_ps=until - since)
                        end(track, until)
            end(track, finish)
        end(track, end_ps)

    # Of the handoff and of sends

    def moving(self, request: int, source: str, target: str) -> None:
        self._moving.setdefault(request, []).append((self._simulation.kernel.now_ps, -1))

    def moved(self, request: int) -> None:
        moves = self._moving[request]
        moves[-1] = (moves[-1][0], self._simulation.kernel.now_ps)

    def begun(self, component: str, now_ps: int) -> None:
        self._in_flight(component, now_ps, 1)

    def ended(self, component: str, now_ps: int) -> None:
        self._in_flight(component, now_ps, -1)

    def _in_flight(self, component: str, now_ps: int, change: int) -> None:
        self._open[component] = self._open.get(component, 0) + change
        self.trace.count(now_ps, self._open[component], "operations", component, "in flight")

    def sent(self, work: Work, start_ps: int, took_ps: int) -> None:
        self.ended(work.component, start_ps + took_ps)
        self.slice(work.component, "transfers", work.template.layer, start_ps, took_ps, [], work.template.kind)

    def slice(
        self, component: str, user: str, name: str, start_ps: int, took_ps: int, flows: Sequence[int], kind: str
    ) -> None:
        track = self.trace.row(start_ps, start_ps + took_ps, component, user)
        self.trace.begin(track, start_ps, name, flows, took_ps=took_ps, kind=kind)
        self.trace.end(track, start_ps + took_ps)


class _Instance:
    """Onlooker of one instance's loop and executor."""

    def __init__(self, watcher: Watcher, number: int, name: str, members: Sequence[Replica]) -> None:
        self._watcher, self._number, self._name, self._members = watcher, number, name, members
        self._flying: dict[int, tuple[int, int]] = {}  # step -> track, launched at
        self._folded_ps: dict[int, int] = {}

    def launched(self, step: int, now_ps: int, starts_ps: int, riders: Sequence[int]) -> None:
        trace = self._watcher.trace
        track = trace.row(now_ps, 1 << 62, "instances", self._name)
        self._flying[step] = track, now_ps
        flows = [self._flow(step), *(REQUEST_FLOW + rider for rider in self._watcher.first_rides(riders))]
        trace.begin(track, now_ps, f"step {step}", flows, requests=len(riders))

    def landed(self, step: int, now_ps: int, energy_pj: int) -> None:
        trace = self._watcher.trace
        track, since = self._flying.pop(step)
        trace.end(track, now_ps)
        trace.release(now_ps, track, "instances", self._name)
        self._folded_ps.pop(step, None)
        for member in self._members:
            waiting, running = member.load
            for what, unit, value in (
                ("waiting", "requests", waiting),
                ("running", "requests", running),
                ("KV use", "%", 100 * member.kv_use),
            ):
                trace.count(now_ps, value, unit, member.name, what)
        if now_ps > since:
            trace.count(since, energy_pj / (now_ps - since), "W", "power", self._name)  # pJ/ps = W
            trace.count(now_ps, 0, "W", "power", self._name)
        self._watcher.catch_up()

    def begun(self, component: str, now_ps: int) -> None:
        self._watcher.begun(component, now_ps)

    def ended(self, component: str, now_ps: int) -> None:
        self._watcher.ended(component, now_ps)

    def part(self, step: int, member: int, component: str, items: Sequence[Item], start_ps: int, took_ps: int) -> None:
        self._slice(step, self._name + (f" member {member}" if member else ""), component, items, start_ps, took_ps)

    def folded(self, step: int, component: str, items: Sequence[Item], start_ps: int, took_ps: int) -> None:
        """Shown as one slice from the train's start; in truth its repetitions alternate with the train's."""
        start_ps += self._folded_ps.get(step, 0)
        self._folded_ps[step] = self._folded_ps.get(step, 0) + took_ps
        self._slice(step, self._name, component, items, start_ps, took_ps, " (folded)")

    def _slice(
        self, step: int, user: str, component: str, items: Sequence[Item], start_ps: int, took_ps: int, tag: str = ""
    ) -> None:
        kinds = ",".join(sorted({item.template.kind for item in items}))
        self._watcher.slice(component, user, layers(items) + tag, start_ps, took_ps, [self._flow(step)], kinds)

    def _flow(self, step: int) -> int:
        return STEP_FLOW + (self._number << 40) + step

    def finish(self, now_ps: int) -> None:
        for track, _ in self._flying.values():
            self._watcher.trace.end(track, now_ps)
