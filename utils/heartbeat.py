"""Liveness of the processes of a job: each says through the job's store that it lives, where it is, how it ended.

Collective operations can't tell a process that is late from one that is gone. Here a thread of each process speaks and
listens a few times a second, so that long work of one process costs no patience with one that stopped.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch.distributed as dist

from utils.errors import PeerLostError
from utils.logging import complain
from utils.signals import EARLY, StopRequest

INTERVAL_S = 0.5
GONE_S = 3.0  # after a connection broke: so long a silence means that it was this process
FAILED_S = 5.0  # that processes which end with the same fault have to say so themselves
ECHO_S = 3.0  # in which processes with the same fault learn of each other, so that one of a machine says it
STOPPING_S = 15.0  # patience after a request to stop, while launchers wait 30 s before they kill
LOST_PEER = ("gloo", "connection closed", "connection reset by peer", "socket timeout", "timed out", "broken pipe")
IN_VAIN = "waiting in vain at"
DONE, EARLY_STOP, LOST = "done", "stopped early", "PeerLostError: "


def is_lost_peer(error: BaseException) -> bool:
    """True for what a collective operation raises when another process failed or stopped answering."""
    text = str(error).lower()
    of_torch = isinstance(error, RuntimeError) and any(mark in text for mark in LOST_PEER) and "cuda error" not in text
    return of_torch or isinstance(error, dist.DistError)


@dataclass
class Peer:
    """What another process said last, and when, by this process's clock."""

    said: dict = field(default_factory=dict)
    heard_at: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)

    def hear(self, said: dict, now: float) -> None:
        """Take note of what it says now."""
        if said.get("beat") != self.said.get("beat"):
            self.heard_at = now
        if said.get("moves") != self.said.get("moves"):
            self.moved_at = now
        self.said = said

    @property
    def ended(self) -> str | None:
        """How it ended; None while it runs."""
        return self.said.get("ended")

    @property
    def failed(self) -> bool:
        """True if it ended with a fault of its own."""
        return self.ended not in (None, DONE, EARLY_STOP) and not self.ended.startswith(LOST)

    @property
    def lives(self) -> bool:
        """True if it was heard of lately."""
        return self.ended is None and time.monotonic() - self.heard_at < GONE_S

    @property
    def where(self) -> str:
        return self.said.get("place", "the start")


class Heartbeat:
    """Says where this process is, and ends it with exit code 7 when another one is lost.

    Lost is who says nothing for `timeout_s`, who ended with a fault, and who stays for `timeout_s` at a place that is
    not the one where this process waits for it. The last concerns only places marked `bounded`, where processes are
    never long: steps of training, not the work that one of them does while the others wait.

    Args:
        store: The job's store.
        rank: This process.
        world_size: Processes of the job.
        timeout_s: Patience in seconds.
        stop: Learns of requests to stop that other processes got, and they of this one's; None: none are passed on.
    """

    def __init__(
        self, store: dist.Store, rank: int, world_size: int, timeout_s: float, stop: StopRequest | None = None
    ) -> None:
        self._store, self._own = store, store.clone()  # a connection for each thread
        self.rank, self.world_size, self.timeout_s, self.stop = rank, world_size, timeout_s, stop
        self._peers = {other: Peer() for other in range(world_size) if other != rank}
        self._said = {"beat": 0, "moves": 0, "place": "the start", "bounded": False, "ended": None}
        self._said["host"] = socket.gethostname()
        self._moved_at = time.monotonic()
        self._meetings = 0
        self._stopping = False
        self._closed = threading.Event()
        self._reporting = threading.Lock()  # taken for good by whoever reports a lost process first
        self._complete = False  # all others were heard once
        self._beat()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def await_all(self, timeout_s: float) -> None:
        """Wait until every process has started; raises `PeerLostError`, naming who has not."""
        deadline = time.monotonic() + timeout_s
        while not self._complete:
            if time.monotonic() > deadline:
                missing = [str(rank) for rank in self._peers if not self._store.check([f"beat/{rank}"])]
                raise PeerLostError(f"rank {', '.join(missing)} did not start within {timeout_s:.0f} s; start again")
            time.sleep(INTERVAL_S / 10)

    def note(self, place: str, bounded: bool = False) -> None:
        """Say where this process is from now on."""
        self._moved_at = time.monotonic()
        self._said |= {"place": place, "bounded": bounded, "moves": self._said["moves"] + 1}

    @contextmanager
    def _at(self, place: str, bounded: bool) -> Iterator[None]:
        before = self._said["place"], self._said["bounded"]
        self.note(place, bounded)
        yield
        self.note(*before)

    def meet(self) -> None:
        """Wait until every process is here, for as long as all of them live."""
        self._meetings += 1
        key = f"meeting/{self._meetings}"
        pause = 0.001
        with self._at("waiting for the others", bounded=True):
            self._store.add(key, 1)
            while self._store.add(key, 0) < self.world_size:
                time.sleep(pause)
                pause = min(0.05, 1.5 * pause)

    def close(self, ended: str) -> bool:
        """Say how this process ended, and no more; rank 0 lets the others do so first, it may be the store's host.

        Returns:
            Whether another process of this machine tells people of the same fault.
        """
        self._closed.set()
        self._thread.join(timeout=10 * INTERVAL_S)
        if ended.startswith(LOST):
            patience = 0.0
        elif ended == DONE:
            patience = 2 * FAILED_S if self.rank == 0 else 0.0
        else:
            patience = ECHO_S
        deadline = time.monotonic() + patience
        try:
            self._beat(ended=ended)
            while not (said := self._is_said(ended)) and time.monotonic() < deadline and not self._are_all_ended():
                time.sleep(INTERVAL_S / 5)
                self._listen()
        except RuntimeError:  # the store is gone
            return False
        return said

    def _are_all_ended(self) -> bool:
        return all(peer.ended for peer in self._peers.values())

    def _is_said(self, ended: str) -> bool:
        """True if another process of this machine says why this one ends: the first of those with one reason."""
        near = {rank: peer for rank, peer in self._peers.items() if peer.said.get("host") == self._said["host"]}
        before = [peer for rank, peer in near.items() if rank < self.rank]
        if not ended.startswith(LOST):
            return any(peer.ended == ended for peer in before)
        return any(peer.failed for peer in near.values()) or any(peer.lives for peer in before)

    def find_lost(self) -> str | None:
        """Who is lost, in words, as far as a few seconds tell."""
        deadline = time.monotonic() + 2 * GONE_S
        while (lost := self._lost(GONE_S, 0.0)) is None and time.monotonic() < deadline:
            time.sleep(INTERVAL_S / 5)
        return lost

    def blame(self, reason: str) -> PeerLostError:
        """Who is lost, after a collective operation failed because of `reason`."""
        self._reporting.acquire()
        self.note(f"{IN_VAIN} {self._said['place']}")
        lost = self.find_lost()
        if lost is None:
            guilty = [str(rank) for rank, peer in self._peers.items() if not peer.where.startswith(IN_VAIN)]
            who = f"rank {', '.join(guilty)} lives and keeps the others waiting" if guilty else "all processes live"
            lost = f"{who} ({reason}): {self._places()}; start it again to resume"
        return PeerLostError(lost)

    def _run(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            try:
                self._beat()
                self._listen()
                self._pass_stop_on()
            except RuntimeError as error:
                if self._closed.is_set():
                    return
                reason = str(error).splitlines()[0][:100]
                self._abort(f"the job's store doesn't answer, its host is lost ({reason})", alone=True)
            if not self._complete:
                continue  # they start at different times; joining the job has a timeout of its own
            patience = min(self.timeout_s, STOPPING_S) if self._stopping else self.timeout_s
            lost = self._lost(patience, FAILED_S) or self._stuck()
            if lost is not None:
                self._abort(lost)

    def _beat(self, **more: str) -> None:
        self._said |= {"beat": self._said["beat"] + 1, **more}
        self._own.set(f"beat/{self.rank}", json.dumps(self._said))

    def _listen(self) -> None:
        keys = [f"beat/{rank}" for rank in self._peers]
        if not self._complete and not self._own.check(keys):
            return
        said = self._own.multi_get(keys)
        self._complete = True
        now = time.monotonic()
        for peer, text in zip(self._peers.values(), said, strict=True):
            peer.hear(json.loads(text), now)

    def _pass_stop_on(self) -> None:
        if self.stop is None:
            return
        self.stop.look()  # the main thread may be inside an operation that never returns
        if self.stop.asked and not self._stopping:
            self._own.set("stop", "asked")
        elif not self._stopping and self._own.check(["stop"]):
            self.stop.ask()
        self._stopping = self.stop.asked
        # nobody is past the start as long as somebody could end there
        early = any(peer.ended == EARLY_STOP for peer in self._peers.values())
        if self._stopping and (early or not self.stop.saveable):
            self._leave_early()

    def _leave_early(self) -> None:
        self._beat(ended=EARLY_STOP)
        deadline = time.monotonic() + (FAILED_S if self.rank == 0 else 0)  # it may be the store's host
        while time.monotonic() < deadline and not self._are_all_ended():
            time.sleep(INTERVAL_S / 5)
            self._listen()
        if self.rank == 0:
            with suppress(OSError):
                print(EARLY, flush=True)
        os._exit(0)  # the main thread may be inside an operation that never returns

    def _lost(self, patience_s: float, failed_s: float) -> str | None:
        """In words: a process that is silent, or ended with a fault, for at least so long."""
        now = time.monotonic()
        for rank, peer in self._peers.items():
            if peer.ended is None and now - peer.heard_at > patience_s:
                return (
                    f"rank {rank} on {peer.said.get('host')} is lost, silent for {now - peer.heard_at:.0f} s, last at"
                    f" {peer.where}: it was killed or stopped, or its machine is gone; start it again to resume"
                )
        for rank, peer in self._peers.items():
            if peer.ended not in (None, DONE, EARLY_STOP) and now - peer.heard_at > failed_s:
                return f"rank {rank} on {peer.said.get('host')} ended at {peer.where}: {peer.ended}"
        return None

    def _stuck(self) -> str | None:
        """In words: nothing moves although somebody is elsewhere than this process."""
        since = time.monotonic() - self.timeout_s
        if not self._said["bounded"] or self._moved_at > since:
            return None
        still = [peer for peer in self._peers.values() if peer.said["bounded"] and peer.moved_at < since]
        if all(peer.where == self._said["place"] for peer in still):
            return None
        return f"no progress for {self.timeout_s:.0f} s (--timeout): {self._places()}; start it again to resume"

    def _places(self) -> str:
        places = {self.rank: self._said["place"]} | {rank: peer.where for rank, peer in self._peers.items()}
        return ", ".join(f"rank {rank} at {place}" for rank, place in sorted(places.items()))

    def _abort(self, message: str, alone: bool = False) -> None:
        if not self._reporting.acquire(blocking=False):
            return
        try:
            if alone or not self._is_said(LOST + message):
                complain(f"error: {message}")
            self._beat(ended=LOST + message)
        finally:
            os._exit(PeerLostError.exit_code)  # the main thread may be inside an operation that never returns
