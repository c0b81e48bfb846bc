"""SystemSampler: the machine's and the process's state, recorded now and then as a ``system`` event.

Reads CPU, memory, the data directory's disk and this process through psutil, and the GPU through ``nvidia-smi``
where that is installed. A reading that fails is absent from the event; the others are there. Hands events to
``record_internal`` (a collector's), since they are Barograph's own and not the callers'.
"""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from barograph.core.event import System
from barograph_client.clock import Clock
from barograph_client.errors import InvalidSettings, shorten
from barograph_client.identifiers import IdentifierSource

SHORTEST_SECONDS = 0.1  # CPU use over less than this says nothing (psutil's documentation of cpu_percent)
GPU_SECONDS = 5.0  # how long nvidia-smi may take; it hangs when the driver does
GPU_TRIES = 3  # failures in a row after which it is not asked again
STOP_SECONDS = 2 * GPU_SECONDS
_HOST_LENGTH = 256
_GPU_QUERY = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")

Readings = Mapping[str, float | int]


class SystemSampler:
    """Records a sample every ``interval`` seconds from ``start`` to ``stop``, in a thread of its own.

    ``directory`` is what the disk figures are about. A sample that cannot be recorded is counted in ``failed``,
    with the reason in ``last_error``; the next is tried all the same.
    """

    def __init__(
        self,
        record_internal: Callable[[System], object],
        clock: Clock,
        identifiers: IdentifierSource,
        interval: float,
        directory: Path,
        project: str = "default",
    ) -> None:
        if not interval > 0 or math.isinf(interval):
            raise InvalidSettings(
                "the sampler's interval must be a time", hint="Set sampler_seconds; 0 means no sampler.", value=interval
            )
        import psutil  # 20 ms and 2 MB that a program without a sampler need not pay

        self._psutil = psutil
        self._process = psutil.Process()
        self._record = record_internal
        self._clock = clock
        self._identifiers = identifiers
        self._interval = interval
        self._directory = directory
        self._project = project
        self._host = shorten(socket.gethostname(), _HOST_LENGTH)
        self._gpu = shutil.which("nvidia-smi")
        self._gpu_failures = 0
        self._sampling = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.recorded = 0
        self.failed = 0
        self.last_error = ""
        self._cpu_since = -math.inf  # no reading of CPU use yet: it is always one since the last
        self._read(self._cpu)

    def sample(self) -> System:
        """One sample, now. CPU use is since the last sample, or since the sampler was made."""
        with self._sampling:
            readings: dict[str, float | int] = {}
            for source in (self._cpu, self._memory, self._disk, self._process_memory, self._gpus):
                readings.update(self._read(source))
        moment = self._clock.now()
        event = System(
            event_id=self._identifiers.new(), time=moment, project=self._project, origin="internal", host=self._host
        )
        return msgspec.structs.replace(event, **readings)

    def start(self) -> None:
        """Begin to sample; does nothing when it has begun."""
        if self._thread is None:
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, name="barograph-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it; a sample that is being taken is finished and recorded. Does nothing when it is not running."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join(STOP_SECONDS)
            self._thread = None

    def _run(self) -> None:
        stopping = self._stopping
        while not self._clock.wait(stopping, self._interval):
            try:
                self._record(self.sample())
                self.recorded += 1
            except Exception as error:  # a full disk today must not end the samples of tomorrow
                self.failed += 1
                self.last_error = shorten(f"{type(error).__name__}: {error}")

    def _read(self, source: Callable[[], Readings]) -> Readings:
        """What a source says, or nothing: whatever a machine withholds, the rest is still worth having."""
        try:
            return {name: value for name, value in source().items() if math.isfinite(value) and value >= 0}
        except Exception:
            return {}

    def _cpu(self) -> Readings:
        now = self._clock.monotonic()
        since, self._cpu_since = self._cpu_since, now
        whole, process = self._psutil.cpu_percent(), self._process.cpu_percent()
        if not SHORTEST_SECONDS <= now - since < math.inf:
            return {}
        return {"cpu_percent": _percent(whole), "process_cpu_percent": float(process)}

    def _memory(self) -> Readings:
        memory = self._psutil.virtual_memory()
        return {"memory_percent": _percent(memory.percent), "memory_used": memory.total - memory.available}

    def _disk(self) -> Readings:
        disk = self._psutil.disk_usage(str(self._directory))
        return {"disk_percent": _percent(disk.percent), "disk_free": disk.free}

    def _process_memory(self) -> Readings:
        return {"process_memory": self._process.memory_info().rss}

    def _gpus(self) -> Readings:
        if self._gpu is None or self._gpu_failures >= GPU_TRIES:
            return {}
        self._gpu_failures += 1
        done = subprocess.run(  # noqa: S603 - the path that `which` found, literal arguments, no shell
            (self._gpu, *_GPU_QUERY), capture_output=True, timeout=GPU_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        readings = _busiest_gpu(done.stdout.decode("utf-8", "replace"))
        self._gpu_failures = 0
        return readings


def _busiest_gpu(text: str) -> Readings:
    """Of lines of "use in per cent, memory used, memory there is"; a GPU without a figure does not take part."""
    rows: list[tuple[float, float]] = []
    for line in text.splitlines():
        try:
            use, used, total = (float(cell) for cell in line.split(","))
        except ValueError:
            continue
        if math.isfinite(use) and total > 0:
            rows.append((use, 100 * used / total))
    if not rows:
        return {}
    use, memory = max(rows)
    return {"gpu_percent": _percent(use), "gpu_memory_percent": _percent(memory)}


def _percent(value: float) -> float:
    return min(100.0, float(value))
