"""A scheduler and a worker in processes of their own, which end one by one."""

import asyncio
import multiprocessing
import os
import signal
import socket


def free_port():
    """Find a port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Machines:
    """A scheduler at a port that stays the same, and one worker."""

    def __init__(self, folder):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["distributed", "tests.workers.problems"])
        self._folder = str(folder)
        self._processes = []
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self._port = port

    def start(self):
        """Start both, unless they run; a client waits for them."""
        if self._processes:
            return
        works = (_scheduler, self._port), (_worker, self.address, self._folder)
        for function, *arguments in works:
            process = self._context.Process(target=function, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)

    def kill_scheduler(self):
        """Kill the scheduler; the worker ends by itself when it has noticed."""
        scheduler, worker = self._processes
        os.kill(scheduler.pid, signal.SIGKILL)
        scheduler.join(60)
        worker.join(60)
        assert not worker.is_alive()
        self._processes.clear()

    def close(self):
        """Kill what runs."""
        for process in self._processes:
            process.kill()
            process.join(60)


def _scheduler(port):
    from distributed import Scheduler

    async def run():
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            await scheduler.finished()

    asyncio.run(run())


def _worker(address, folder):
    from distributed import Worker

    async def run():
        async with Worker(address, nthreads=1, local_directory=folder) as worker:
            await worker.finished()

    asyncio.run(run())
