"""A whole Slurm on one host, on loopback alone: munged, slurmctld and slurmd with files of their own in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
PATHS = "/usr/sbin:/usr/local/sbin:/sbin"
PLACE = Path("/etc/slurm/slurm.conf")
"""Where Slurm looks without being told: Snakemake's plugin takes SLURM_CONF out of its jobs' environment."""

PREFIX = "slurm-of-a-test-"
"""Of the folder in the system's place for temporary files: sockets have short names, so not under pytest's."""

CONFIGURATION = """\
ClusterName=mirrortest
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MpiDefault=none
MinJobAge=600
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here, or None where there can."""
    absent = [name for name in (*DAEMONS, "sbatch", "squeue") if _program(name) is None]
    if absent:
        return f"needs {', '.join(absent)} (Debian: apt-get install munge slurmctld slurmd slurm-client)"
    if PLACE.is_symlink() and _of_a_killed_run(PLACE.readlink()):
        PLACE.unlink()
    if os.path.lexists(PLACE):
        return f"this host has a Slurm of its own ({PLACE})"
    return None if os.geteuid() == 0 else "slurmd starts jobs for others and must be root"


@contextmanager
def slurm_host(folder: Path, *, cpus: int = 2) -> Generator[dict[str, str]]:
    """Start the three daemons, yield the environment of their clients, stop them. Raises where they do not come up."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, host=host, user="root", cpus=cpus, ports=[_free_port(), _free_port()])
    )
    environment = dict(os.environ)
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.symlink_to(configuration)
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        program = _program(command[0])
        assert program is not None
        with (folder / f"{command[0]}.said").open("wb") as said:
            daemon = subprocess.Popen([program, *command[1:]], env=environment, stdout=said, stderr=said)
        started.append(daemon)

    try:
        files = (f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed"))
        start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        _wait_for(lambda: (folder / "munge.socket").exists(), "munged", folder)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D")
        _wait_for(lambda: _asked(environment, "sinfo", "-h", "-o", "%T") == "idle", "slurmd", folder)
        yield environment
        # Nothing that Slurm has started outlives it, also where a workflow was stopped in the middle.
        subprocess.run(["scancel", "--user=root"], env=environment, check=True)
        _wait_for(lambda: not _asked(environment, "squeue", "--noheader"), "the end of the jobs", folder)
    finally:
        for daemon in reversed(started):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(started):
            daemon.wait(timeout=60)
        PLACE.unlink()


def _of_a_killed_run(configuration: Path) -> bool:
    """True where this file has made it, in a test that was killed before it could put things back."""
    folder = configuration.parent
    ours = folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith(PREFIX)
    return ours and " is UP" not in _asked(dict(os.environ), "scontrol", "ping")


def _asked(environment: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip()


def _wait_for(ready: Callable[[], bool], what: str, folder: Path, *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            said = {path.name: path.read_text(errors="replace")[-1500:] for path in folder.glob("*.said")}
            raise RuntimeError(f"waited in vain for {what}: {said}")
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=PATHS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
