"""Finds a host's processes and waits for their end."""

from __future__ import annotations

import time

import psutil

PATIENCE_S = 120


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def workers(host_pid: int) -> list[psutil.Process]:
    """The worker processes of a host that live."""
    return [child for child in psutil.Process(host_pid).children(recursive=True) if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "native_host.workers.entry" in process.cmdline()
    except psutil.Error:  # it has ended
        return False


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a time that is long enough on any machine. A zombie has ended; reaping it is
    its parent's affair.
    """
    _, alive = psutil.wait_procs(processes, timeout=0)
    for process in alive:
        _wait(process)
    return [process for process in alive if process.is_running() and not _zombie(process)]


def _wait(process: psutil.Process) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.is_running() and not _zombie(process) and time.monotonic() < deadline:
        psutil.wait_procs([process], timeout=0.02)


def _zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
