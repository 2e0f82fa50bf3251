"""Components in real containers: the same bytes, clear failures, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from metronome.orchestrator.coupling.launch import owner
from metronome.orchestrator.errors import ComponentFailure
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

from ..conftest import ROOT, interruptible, wait_until_under_way
from ..coupling.test_placement import files, run
from ..wiring.test_islands import ARRAY, DRAM, TINY, WIRES

ALL = ("n0.accelerators", "n0.dram", "nvlink0")


def contained(small, image, names=ALL, model=None, start_timeout_s=60, **options):
    one = {
        "run": "container",
        "start_timeout_s": start_timeout_s,
        "container": {"image": image, "pull": "never", **options},
    }
    return {**small, "components": {name: {**one, **({"model": model} if model else {})} for name in names}}


def faked(small, image, model, **options):
    """The accelerator is a misbehaving model of the tests, which are mounted into the container."""
    mounts = [{"source": str(ROOT / "tests"), "target": "/more/tests"}]
    environment = {"PYTHONPATH": "/more", **options.pop("environment", {})}
    data = contained(
        small, image, ALL[:1], f"tests.coupling.fakes:{model}", mounts=mounts, environment=environment, **options
    )
    data["components"][ALL[0]]["on_failure"] = "fail"  # else: see the recoveries below
    return data


def everything(engine):
    """Containers, networks and socket folders (of ours, other tests make some, too) there are."""
    folders = sorted(str(p) for p in Path(tempfile.gettempdir()).glob(f"metronome-{owner.mine()}-*"))
    containers = sorted(
        c.name for c in engine.containers.list(all=True, ignore_removed=True, filters={"label": "metronome.run"})
    )
    return containers, sorted(n.name for n in engine.networks.list()), folders


@pytest.fixture
def nothing_left(engine):
    before = everything(engine)
    yield
    assert everything(engine) == before


def without_images(found):
    result, *rest = found
    images = {name: component.pop("image", "") for name, component in result["metronome"]["components"].items()}
    return (result, *rest), images


def test_components_that_ask_one_another(small, image, cli, tmp_path, nothing_left):
    """An array and its DRAM over a wire, each in its container: what one process gives."""
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    small["instances"] = [{**small["instances"][0], "model": str(tmp_path / "config.json")}]
    small["workload"] |= {"num_requests": 2, "input_tokens": {"mean": 40, "max": 90}, "output_tokens": {"mean": 4}}
    small["wires"] = WIRES
    found = {}
    for name, place in {"here": {}, "contained": contained({}, image, ["one"])["components"]["one"]}.items():
        components = {"n0.accelerators": {**ARRAY, **place}, "n0.hbm": {**DRAM, **place}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**small, "components": components}))
        done = cli("run", tmp_path / f"{name}.yaml", "-o", tmp_path / name, "--quiet")
        assert done.exit_code == 0, done.output
        island = json.loads((tmp_path / name / "result.json").read_text())["metronome"]["components"]
        figures = island["n0.accelerators"]["statistics"]["island"]
        found[name] = (tmp_path / name / "requests.csv").read_bytes(), figures["messages"], figures["windows"]
    assert found["here"] == found["contained"] and found["here"][1] > 1000


def test_all_four_kinds_of_component_in_containers(small, image, engine, tmp_path, nothing_left):
    small["cluster"]["nodes"][0]["memory"]["pim"] = {"devices_per_accelerator": 16}
    for instance in small["instances"]:
        instance["decode_attention"] = "pim"
    inside, _ = run(small, tmp_path / "in")
    four = (*ALL, "n0.pim")
    found, simulation = run(contained(small, image, four), tmp_path / "out")
    assert {spec.kind for spec in simulation.specs} == {"accelerator", "memory", "network", "pim"}
    outside, images = without_images(found)
    assert inside == outside and set(images) == set(four)
    assert all(component["calls"] for component in outside[0]["metronome"]["components"].values())


@pytest.mark.parametrize("network", ["none", "private", "loopback"])
def test_in_containers_the_bytes_are_the_same(small, image, engine, tmp_path, nothing_left, network):
    inside, _ = run(small, tmp_path / "in")
    found, _ = run(contained(small, image, network=network), tmp_path / "out")
    outside, images = without_images(found)
    assert inside == outside
    assert set(images.values()) == {engine.images.get(image).id}
    assert all((tmp_path / "out" / "logs" / f"{name}.log").read_text() for name in ALL)


def test_a_container_is_locked_down(small, image, engine, tmp_path, nothing_left):
    data = contained(small, image, ALL[2:], cpus=0.5, memory_mib=300, environment={"A": "b"})
    with Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs")):
        (made,) = engine.containers.list(filters={"label": "metronome.component=nvlink0"})
        host = made.attrs["HostConfig"]
        assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"] and host["Init"]
        assert host["CapDrop"] == ["ALL"] and "no-new-privileges" in host["SecurityOpt"]
        assert host["PidsLimit"] == 256 and host["Memory"] == host["MemorySwap"] == 300 * 2**20
        assert host["NanoCpus"] == 5 * 10**8 and not host["Privileged"] and not host["PortBindings"]
        assert made.attrs["Config"]["User"] not in ("", "0", "root") and "A=b" in made.attrs["Config"]["Env"]
        assert made.labels["metronome.owner"] == owner.mine()
        for _ in range(100):
            made.reload()
            if made.attrs["State"]["Health"]["Status"] == "healthy":
                break
            time.sleep(0.2)
        assert made.attrs["State"]["Health"]["Status"] == "healthy"
        code, _ = made.exec_run(["sh", "-c", "echo x > /usr/x"])
        assert code != 0


def test_a_published_port_is_on_loopback_only_and_wants_a_certificate(small, image, engine, tmp_path, nothing_left):
    import grpc
    from metronome.adapters.host.health import serving

    data = contained(small, image, ALL[2:], network="loopback")
    with Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs")):
        (made,) = engine.containers.list(filters={"label": "metronome.component=nvlink0"})
        (binding,) = made.attrs["NetworkSettings"]["Ports"]["50051/tcp"]
        assert binding["HostIp"] == "127.0.0.1"
        assert not serving(f"127.0.0.1:{binding['HostPort']}")
        channel = grpc.secure_channel(f"127.0.0.1:{binding['HostPort']}", grpc.ssl_channel_credentials())
        with channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=2)


def fails(data, tmp_path, why, within=60):
    started = time.monotonic()
    with (
        pytest.raises(ComponentFailure, match=why),
        Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation,
    ):
        simulation.run()
    assert time.monotonic() - started < within


def test_beyond_its_memory(small, image, tmp_path, nothing_left):
    fails(
        faked(small, image, "Devours", memory_mib=200),
        tmp_path,
        r"n0.accelerators: was killed for going beyond its memory limit \(200 MiB\)",
    )


def test_killed_in_the_middle(small, image, tmp_path, nothing_left):
    fails(
        faked(small, image, "Dies"),
        tmp_path,
        "(?s)n0.accelerators: its container exited with code 137 .while doing .*the end is near",
    )


def test_exits_at_once(small, image, tmp_path, nothing_left):
    data = contained(small, image, ALL[:1], command=["serve-component", "nobody", "--listen", "{listen}"])
    fails(
        data, tmp_path, "(?s)n0.accelerators: its container exited with code 2 .while starting.*one of aiconfigurator"
    )


def test_never_healthy(small, image, tmp_path, nothing_left):
    elsewhere = ["serve-component", "roofline", "--insecure"]
    data = contained(small, image, ALL[:1], start_timeout_s=3, command=elsewhere)
    fails(data, tmp_path, "n0.accelerators: never became healthy within 3 s", within=25)


def test_hangs(small, image, tmp_path, nothing_left):
    data = faked(small, image, "Hangs")
    data["components"]["n0.accelerators"]["timeout_s"] = 2
    fails(data, tmp_path, "(?s)n0.accelerators: gave no answer for 2 s.*thinking hard")


def test_no_such_image(small, engine, tmp_path, nothing_left):
    fails(
        contained(small, "no-such-image:1", ALL[:1]),
        tmp_path,
        "n0.accelerators: there is no image no-such-image:1 here, and pull is never",
    )
    data = contained(small, "localhost:1/no-such-image:1", ALL[:1])
    data["components"]["n0.accelerators"]["container"]["pull"] = "missing"
    fails(data, tmp_path, "n0.accelerators: there is no image .* and it cannot be pulled")


def test_no_such_mount(small, image, tmp_path, nothing_left):
    data = contained(small, image, ALL[:1], mounts=[{"source": "nowhere", "target": "/x"}])
    fails(data, tmp_path, "n0.accelerators: .*nowhere")


def test_no_engine(small, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    fails(
        contained(small, "whatever", ALL[:1]),
        tmp_path,
        "n0.accelerators: needs a container engine, and none answers",
        within=15,
    )


@pytest.mark.parametrize("network", ["none", "private", "loopback"])
@pytest.mark.parametrize("blow", ["kill", "pause"])
def test_a_container_that_dies_or_freezes_is_made_anew(small, image, engine, tmp_path, nothing_left, network, blow):
    inside, _ = run(small, tmp_path / "in")
    data = contained(small, image, network=network)
    for options in data["components"].values():
        options["timeout_s"] = 3
    events = []

    class Strikes:
        def event(self, event):
            events.append(event)
            if len(events) == 300:
                for made in engine.containers.list(filters={"label": f"metronome.owner={owner.mine()}"}):
                    getattr(made, blow)()

    with (
        pytest.warns(UserWarning, match="it is started anew"),
        Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs"), [Strikes()]) as simulation,
    ):
        simulation.run()
        write(simulation, tmp_path, 0.0, Ending())
    outside, _ = without_images(files(tmp_path))
    components = outside[0]["metronome"]["components"].values()
    assert sum(component.pop("recoveries", 0) for component in components) >= 2
    for component in components:
        component.pop("recovery_wall_s", None)
    assert inside == outside


def slow(small, image, tmp_path):
    """A long run as a process of its own, its containers running."""
    data = contained(small, image)
    data["workload"] = {**data["workload"], "num_requests": 1_000_000}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(data))
    process = interruptible(
        [
            sys.executable,
            "-m",
            "metronome",
            "run",
            str(tmp_path / "long.yaml"),
            "-o",
            str(tmp_path / "out"),
            "--quiet",
            "--record",
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return process


def running(engine, process):
    return engine.containers.list(filters={"label": f"metronome.owner={process.pid}-{owner._started(process.pid)}"})


def started(engine, process, tmp_path):
    wait_until_under_way(tmp_path / "out", process)
    assert len(running(engine, process)) >= 3


def test_ctrl_c_leaves_nothing(small, image, engine, tmp_path, nothing_left):
    process = slow(small, image, tmp_path)
    started(engine, process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and b"partial results are in" in stderr


def test_what_a_killed_orchestrator_leaves_is_found_by_the_next_run_and_by_cleanup(
    small, image, engine, cli, tmp_path, nothing_left
):
    for find in (lambda: cli("cleanup"), lambda: run(contained(small, image, ALL[2:]), tmp_path / "next")):
        (tmp_path / "out" / "recording" / "journal").unlink(missing_ok=True)
        process = slow(small, image, tmp_path)
        started(engine, process, tmp_path)
        (folder,) = Path(tempfile.gettempdir()).glob(f"metronome-{process.pid}-*")
        left = [made.name for made in running(engine, process)]
        process.kill()
        process.communicate()
        found = find()
        assert not folder.exists()
        deadline = time.monotonic() + 10  # the engine lists one until it is gone
        while {c.name for c in engine.containers.list(all=True, ignore_removed=True)} & set(
            left
        ) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not {c.name for c in engine.containers.list(all=True, ignore_removed=True)} & set(left)
        if hasattr(found, "output"):
            assert found.exit_code == 0, found.output  # a keeper may have been quicker: then there is nothing


def test_containers_do_not_outlive_a_killed_orchestrator(small, image, engine, tmp_path, nothing_left):
    process = slow(small, image, tmp_path)
    started(engine, process, tmp_path)
    left = {made.name for made in running(engine, process)}
    (folder,) = Path(tempfile.gettempdir()).glob(f"metronome-{process.pid}-*")
    process.kill()
    process.communicate()
    end = time.monotonic() + 40
    while {c.name for c in engine.containers.list(all=True, ignore_removed=True)} & left or folder.exists():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_what_belongs_to_a_living_run_is_left_alone(small, image, engine, cli, tmp_path):
    data = contained(small, image, ALL[2:])
    with Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation:
        assert cli("cleanup").exit_code == 0
        simulation.run()


def test_an_owner_is_known_by_its_start(tmp_path):
    assert owner.alive(owner.mine())
    assert not owner.alive(f"{os.getpid()}-1")
    assert not owner.alive("999999999-5")
    assert owner.alive("nonsense")
