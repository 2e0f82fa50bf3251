"""vLLM's data-parallel coordinator and its front end's choice of rank, over a clock of ours: runs where vLLM is.

Both are vLLM's code (`DPCoordinatorProc.process_input_socket`, `DPLBAsyncMPClient.get_core_engine_for_request`). Made
up are the sockets between processes, and time.
"""

from collections import Counter
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import msgspec.msgpack
from vllm.v1.engine import EngineCoreOutputs, coordinator
from vllm.v1.engine.core_client import DPLBAsyncMPClient
from vllm.v1.metrics.stats import SchedulerStats

BEGAN_MS = 1_000_000_000  # of the coordinator's life; a real clock's are years


class OverError(Exception):
    """Nothing more happens."""


class Socket:
    """One end of a connection between processes."""

    def __init__(self, recv=None, send=None):
        self.recv, self.send = recv, send


class Network:
    """Sockets and clock of one coordinator: it is told of ranks' counts, and what it publishes is written down."""

    XPUB, PULL, POLLIN = "publish", "pull", 1

    def __init__(self, told, until_ms):
        self.now_ms, self._until_ms = BEGAN_MS, until_ms
        self._told = list(told)
        self.published = []

    def time(self):
        return self.now_ms / 1000

    def Context(self):
        return None

    def Poller(self):
        return self

    def register(self, *_):
        pass

    def socket(self, path, **_):
        if path == "front":
            return nullcontext(Socket(send=self._publish))
        if path == "engines":
            return nullcontext(Socket(lambda: b"\x01", lambda _: None))
        self._output = Socket(lambda: self._told.pop(0)[1])
        return nullcontext(self._output)

    def poll(self, timeout):
        due = self.now_ms + timeout
        if self._told and self.published and self._origin_ms + self._told[0][0] <= due:
            self.now_ms = max(self.now_ms, self._origin_ms + self._told[0][0])
            return [(self._output, self.POLLIN)]
        if self.published and due > self._origin_ms + self._until_ms:
            raise OverError
        self.now_ms = due
        return []

    def _publish(self, message):
        counts, _, _ = msgspec.msgpack.decode(message)
        if not self.published:  # the first says that there is nothing: times are counted from it
            self._origin_ms = self.now_ms
        self.published.append([self.now_ms - self._origin_ms, counts])


def publications(ranks, lockstep, told, until_ms):
    """``[ms, counts by rank]`` of all that is published, given ``[ms, rank, step, waiting, running, share of KV blocks
    held]`` in order of time. Times count from the first publication, which is that of an idle server."""
    messages = []
    for when, rank, step, waiting, running, usage in told:
        stats = SchedulerStats(
            num_running_reqs=running,
            num_waiting_reqs=waiting,
            step_counter=step,
            current_wave=0,
            kv_cache_usage=usage,
        )
        messages.append((when, EngineCoreOutputs(engine_index=rank, scheduler_stats=stats)))
    network = Network(messages, until_ms)
    coordinator.zmq = network
    coordinator.time = SimpleNamespace(time=network.time)
    coordinator.make_zmq_socket = lambda path, **rest: network.socket(path, **rest)
    coordinator.MsgpackDecoder = lambda _: SimpleNamespace(decode=lambda message: message)
    coordinator.set_process_title = lambda _: None
    try:
        how = {} if lockstep else {"enable_wave_coordination": False}
        coordinator.DPCoordinatorProc(ranks, **how).process_input_socket("front", "outputs", "engines")
    except OverError:
        return network.published


def balance(ranks, servers, lockstep, told, requests):
    """What is published, and the rank of each of the requests, ``[ms, server, ms at which it ends]`` in order of
    time; ``lockstep``: ranks step together."""
    published = publications(ranks, lockstep, told, max([0, *(when for when, _, _ in requests)]))
    clients = [
        SimpleNamespace(
            lb_engines=[list(published[0][1][0]) for _ in range(ranks)],
            core_engines=list(range(ranks)),
            eng_start_index=ranks * index // servers,
            client_count=servers,
            reqs_in_flight={},
            engine_inflight=Counter(),
            streaming_reqs=set(),
            seen=0,
        )
        for index in range(servers)
    ]
    chosen = []
    for number, (when, server, _) in enumerate(requests):
        client = clients[server]
        over = {str(i) for i, (_, sent, ends) in enumerate(requests[:number]) if sent == server and ends < when}
        _finish(client, over)
        known = sum(1 for at, _ in published if at < when)
        if known > client.seen:
            client.seen, client.lb_engines = known, [list(counts) for counts in published[known - 1][1]]
        request = SimpleNamespace(
            request_id=str(number), data_parallel_rank=None, pooling_params=None, resumable=False, session_id=None
        )
        chosen.append(DPLBAsyncMPClient.get_core_engine_for_request(client, request))
    return [published, chosen]


def _finish(client, names):
    """The client hears that these are over."""
    heard = DPLBAsyncMPClient.process_engine_outputs(client, SimpleNamespace(finished_requests=names))
    with suppress(StopIteration):
        heard.send(None)
