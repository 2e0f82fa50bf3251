"""A run as a Perfetto trace: tracks of requests, instances and components, flows along causes, counters.

An instrument writes packets as the run goes, so memory does not grow with it. Writing a slice takes some
10 us, which is why the run looked at is a replay, not the run that is timed. Perfetto's times are whole
nanoseconds: picoseconds are rounded down, begin and end alike, and every slice of an operation carries
its exact length as `took_ps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

from ..coupling.port import layers
from ..lowering.work import Work
from ..serving.offloading import TierCopy
from ..serving.replica import Replica
from ..serving.request_state import RequestState
from ..units import PS_PER_NS

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
    """Instrument that writes a trace; `finish` closes what the end of the run has left open."""

    def __init__(self, trace: Trace, members: Mapping[str, Sequence[Replica]]) -> None:
        """``members`` are the replicas of every instance."""
        self.trace, self._members = trace, members
        self._seen: set[int] = set()  # requests that have been computed in a step
        self._moving: dict[int, list[tuple[int, int]]] = {}  # K and V of a request on their way
        self._open: dict[str, int] = {}  # operations in flight, by component
        self._flying: dict[tuple[str, int], tuple[int, int]] = {}  # (instance, step) -> track, launched at
        self._folded_ps: dict[tuple[str, int], int] = {}
        self._numbers = {instance: number for number, instance in enumerate(members)}

    def finish(self, now_ps: int) -> None:
        """Close what is open at the end of the run."""
        for track, _ in self._flying.values():
            self.trace.end(track, now_ps)
        for replica in (one for members in self._members.values() for one in members):
            for state in replica.requests():
                if state.origin is None and state.request.id in self._seen:
                    self._request(state, now_ps)

    # Requests

    def request_ended(self, state: RequestState) -> None:
        self._request(state, state.end_ps)

    def _request(self, state: RequestState, end_ps: int) -> None:
        request = state.request
        track = self.trace.track("requests", f"request {request.id}")
        flows = [REQUEST_FLOW + request.id] if request.id in self._seen else []
        self._seen.discard(request.id)
        facts = {"input_tokens": request.input_tokens, "output_tokens": request.output_tokens}
        begin, end = self.trace.begin, self.trace.end
        begin(track, request.arrival_ps, f"request {request.id}", flows, took_ps=end_ps - request.arrival_ps, **facts)
        marks = [
            ("API server", request.arrival_ps),
            ("waiting", state.received_ps),
            ("prefill", state.scheduled_ps),
            ("decode", state.first_token_ps),
        ]
        moves = self._moving.pop(request.id, [])
        reached = [(name, start) for name, start in marks if 0 <= start <= end_ps]
        for (name, start), finish in zip(reached, [*(s for _, s in reached[1:]), end_ps], strict=True):
            if name == "API server" and start == finish:
                continue  # there is none
            begin(track, start, name, took_ps=finish - start)
            for since, until in moves if name in ("prefill", "decode") else ():
                if start <= since and until <= finish:
                    begin(track, since, "K and V move", took_ps=until - since)
                    end(track, until)
            end(track, finish)
        end(track, end_ps)

    # Steps

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        track = self.trace.row(now_ps, 1 << 62, "instances", instance)
        self._flying[instance, number] = track, now_ps
        # Arrows lead from requests that are computed for the first time to that step.
        fresh = [request for request in requests if request not in self._seen]
        self._seen.update(fresh)
        flows = [self._flow(instance, number), *(REQUEST_FLOW + request for request in fresh)]
        self.trace.begin(track, now_ps, f"step {number}", flows, requests=len(requests))

    def step_landed(self, instance: str, number: int, now_ps: int, energy_pj: int) -> None:
        trace = self.trace
        track, since = self._flying.pop((instance, number))
        trace.end(track, now_ps)
        trace.release(now_ps, track, "instances", instance)
        self._folded_ps.pop((instance, number), None)
        for member in self._members[instance]:
            waiting, running = member.load
            for what, unit, value in (
                ("waiting", "requests", waiting),
                ("running", "requests", running),
                ("KV use", "%", 100 * member.kv_use),
            ):
                trace.count(now_ps, value, unit, member.name, what)
        if now_ps > since:
            trace.count(since, energy_pj / (now_ps - since), "W", "power", instance)  # pJ/ps = W
            trace.count(now_ps, 0, "W", "power", instance)

    def _flow(self, instance: str, step: int) -> int:
        return STEP_FLOW + (self._numbers[instance] << 40) + step

    # Operations

    def operation_began(self, component: str, now_ps: int) -> None:
        self._in_flight(component, now_ps, 1)

    def operation_ended(self, component: str, now_ps: int) -> None:
        self._in_flight(component, now_ps, -1)

    def _in_flight(self, component: str, now_ps: int, change: int) -> None:
        self._open[component] = self._open.get(component, 0) + change
        self.trace.count(now_ps, self._open[component], "operations", component, "in flight")

    def operations(
        self,
        instance: str,
        step: int,
        member: int,
        component: str,
        items: Sequence[Work],
        start_ps: int,
        took_ps: int,
    ) -> None:
        user = instance + (f" member {member}" if member else "")
        self._slice(component, user, layers(items), start_ps, took_ps, [self._flow(instance, step)], _kinds(items))

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        """Shown as one slice from the first's start; in truth its repetitions alternate with the collectives."""
        start_ps += self._folded_ps.get((instance, step), 0)
        self._folded_ps[instance, step] = self._folded_ps.get((instance, step), 0) + took_ps
        name = layers(items) + " (folded)"
        self._slice(component, instance, name, start_ps, took_ps, [self._flow(instance, step)], _kinds(items))

    def transfer_began(self, request: int, source: str, target: str, now_ps: int) -> None:
        self._moving.setdefault(request, []).append((now_ps, -1))

    def transfer_ended(self, request: int, now_ps: int) -> None:
        moves = self._moving[request]
        moves[-1] = (moves[-1][0], now_ps)

    def tier_copy_began(self, copy: TierCopy) -> None:
        self.trace.count(copy.began_ps, copy.used, "chunks", f"tier {copy.tier}", copy.pool)

    def tier_copy_ended(self, copy: TierCopy) -> None:
        name = f"{'recall' if copy.recall else 'store'} of {copy.tokens} tokens"
        whose = f", request {copy.request}" if copy.request >= 0 else ""
        track = self.trace.row(copy.began_ps, copy.ended_ps, f"tier {copy.tier}", copy.engine)
        self.trace.begin(track, copy.began_ps, name + whose, bytes=copy.bytes, pool=copy.pool)
        self.trace.end(track, copy.ended_ps)
        self.trace.count(copy.ended_ps, copy.used, "chunks", f"tier {copy.tier}", copy.pool)

    def sent(self, work: Work, start_ps: int, took_ps: int) -> None:
        self._slice(work.component, "transfers", work.template.layer, start_ps, took_ps, [], work.template.kind)

    def _slice(
        self, component: str, user: str, name: str, start_ps: int, took_ps: int, flows: Sequence[int], kind: str
    ) -> None:
        track = self.trace.row(start_ps, start_ps + took_ps, component, user)
        self.trace.begin(track, start_ps, name, flows, took_ps=took_ps, kind=kind)
        self.trace.end(track, start_ps + took_ps)


def _kinds(items: Sequence[Work]) -> str:
    return ",".join(sorted({item.template.kind for item in items}))
