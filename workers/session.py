"""One leased trial, from its job to the last word about it."""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save as as_safetensors

from service.client import Client
from service.contract.errors import SrtuneError
from service.contract.trial import (
    Action,
    Checkpoint,
    Failure,
    FailureCause,
    Metrics,
    Release,
    Result,
)
from workers.bench import Bench
from workers.checkpoint import write
from workers.course import Course, open_course
from workers.delivery import Courier, News, Parcel, Tell, Upload, report
from workers.device import free_memory
from workers.evaluate import metric_names
from workers.exhibit import exhibited
from workers.failures import cause_of, sentence
from workers.heartbeat import Holding
from workers.metrics import prepare
from workers.start import save_start
from workers.tracking.spool import Spool
from workers.tracking.system import SystemMeter
from workers.trainer import Event

logger = logging.getLogger(__name__)


class _Sent(NamedTuple):
    """Something on its way to the service, and the files that are not needed once it arrived."""

    parcel: Parcel
    files: Sequence[Path]


class Session:
    """A leased trial in training. `advance` takes one step; the service is told in the background.

    Over when the service has heard the end, has ended it itself, or has given it to another.
    """

    def __init__(
        self,
        holding: Holding,
        bench: Bench,
        courier: Courier,
        spool: Spool | None,
    ) -> None:
        self.holding = holding
        self.job = holding.lease.job
        self.over = False
        self._bench, self._courier, self._spool = bench, courier, spool
        self._folder = bench.folder / "trials" / f"{self.job.uid}-{holding.lease.token}"
        self._course: Course | None = None
        self._sent: deque[_Sent] = deque()
        self._closing = self._alone = False
        self._meter = SystemMeter(bench.device)
        self._work: Iterator[None] = self._train()

    @property
    def waiting(self) -> bool:
        """Whether there is nothing to compute now, only an answer to wait for."""
        return (self._closing or self._alone) and not self.over

    def advance(self) -> None:
        """Take one step of training, or take in what the service has answered."""
        if not self.over:
            self._settle()
        if self.over or self._closing:
            return
        failure = self._step()
        if failure is not None:
            self._let_go()
            self._fail(*failure)

    def _step(self) -> tuple[FailureCause, str] | None:
        """Compute a little; why that failed, if it did."""
        try:
            next(self._work)
        except SrtuneError as error:
            # Fetching what the job needs failed; another attempt may find it.
            return FailureCause.ERROR, error.detail
        except Exception as error:
            # The edge of a trial: whatever is wrong with it, the worker goes on with the next.
            cause = cause_of(error)
            level = logging.ERROR if cause is FailureCause.ERROR else logging.DEBUG
            logger.log(level, "trial failed: %s", cause, exc_info=True, extra=self._who())
            return cause, sentence(error, cause, self.holding.step)
        return None

    def _let_go(self) -> None:
        """Give the training's memory back: the next one may need it, and its error held it, too."""
        self._course, self._work = None, iter(())
        free_memory(self._bench.device)

    def release(self, reason: str) -> None:
        """Give the trial back with a checkpoint of where it is."""
        if self.over or self._closing:
            return
        if self._course is None or self._course.state.step == 0:
            self._send(lambda client: self._releases(None, reason), ends=True)
            return
        step, path = self._checkpoint()

        def upload(client: Client) -> Tell:
            blob = client.put_blob(path)
            return self._releases(Checkpoint(blob=blob, step=step), reason)

        self._send(upload, [path], ends=True)

    def _train(self) -> Iterator[None]:
        self._bench.check(self.job.definition.data)
        # Weights and programs that scoring needs are missed now, not after hours of training.
        prepare(metric_names(self.job.definition, final=True))
        self._course = course = open_course(self.job, self._bench, log=self._log)
        self._track()
        self._bench.study = self.job.study_id
        logger.info("training from step %d", course.state.step, extra=self._who())
        yield
        for event in course.events:
            self._track()
            if event is Event.RUNG:
                self._report(self._score(final=False))
            elif event is Event.CHECKPOINT:
                self._report({})
            elif event is Event.DONE:
                self._complete()
            yield
            if event is Event.RUNG or event is Event.CHECKPOINT:
                yield from self._while_forsaken()

    def _while_forsaken(self) -> Iterator[None]:
        """Compute nothing until the service is heard again, if it was silent beyond the lease.

        Either it is away, and the lease waits for us as we for it; or we are cut off, and another
        worker trains this trial by now. Here nobody can tell. Stopping at once would lose the steps
        since the last checkpoint in the first case, going on for ever would burn a device for
        nothing in the second. So training goes on to the next checkpoint, which is kept until it
        can be delivered, and waits there: nothing is computed twice, and a device that is cut off
        is idle after one rung at most. What ends the lease is still the service's word.
        """
        if self.holding.forsaken and self.holding.open:
            logger.warning("the service is silent; training waits for it", extra=self._who())
        while self.holding.forsaken and self.holding.open:
            self._alone = True
            yield
        self._alone = False

    def _track(self) -> None:
        if self._course is not None:
            state = self._course.state
            self.holding.step = state.step
            self.holding.steps_per_second = state.step / state.seconds if state.seconds else 0.0

    def _score(self, *, final: bool) -> Metrics:
        """Scores of the present generator, noted as curves and pictures."""
        state, definition = self._opened().state, self.job.definition
        images = self._bench.photos(definition.data).validation
        found = exhibited(state, definition, images, self._spool, final=final)
        self._log({f"val/{name}": value for name, value in found.items()}, state.step)
        return found

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if self._spool is not None:
            self._spool.metrics({**values, **self._meter.read()}, step)

    def _report(self, metrics: Metrics) -> None:
        """Send scores and the checkpoint they belong to; training does not wait for the answer."""
        step, path = self._checkpoint()
        if self._spool is not None:
            self._spool.file("checkpoints/last.pt", path)
        news = News(step, metrics, path)
        self._send(report(self.holding.lease, [news]), [path], news=news)

    def _complete(self) -> None:
        """Score the end, and send it with the weights and, of a start job, what others begin with."""
        course, lease = self._opened(), self.holding.lease
        metrics = self._score(final=True)
        calibration = course.calibrate() if course.calibrate else None
        weights = self._folder / "weights.safetensors"
        tensors = {name: t.contiguous() for name, t in course.state.scored.state_dict().items()}
        write(as_safetensors(tensors), weights)
        if self._spool is not None:
            self._spool.file("weights.safetensors", weights)
        start = self._folder / "start.pt" if calibration else None
        if start:
            save_start(course.state, start)
        step, seconds = course.state.step, course.state.seconds

        def upload(client: Client) -> Tell:
            result = Result(
                token=lease.token,
                step=step,
                metrics=metrics,
                weights_blob=client.put_blob(weights),
                start=client.put_blob(start) if start else None,
                calibration=calibration,
                train_seconds=seconds,
            )
            return lambda client: client.complete(lease.id, result)

        self._send(upload, [weights, *([start] if start else [])], ends=True)

    def _fail(self, cause: FailureCause, message: str) -> None:
        lease = self.holding.lease
        failure = Failure(token=lease.token, cause=cause, message=message, step=self.holding.step)
        diverged = cause is FailureCause.DIVERGED
        # To diverge is a trial's result; nothing is wrong with anything but its weights.
        level = logging.INFO if diverged else logging.WARNING
        logger.log(level, "%s: %s", cause.value, message, extra=self._who())
        # Unless it diverged, another attempt makes the last points again.
        keep = diverged
        self._send(lambda _: lambda client: client.fail(lease.id, failure), ends=True, keep=keep)

    def _releases(self, checkpoint: Checkpoint | None, reason: str) -> Tell:
        lease = self.holding.lease
        release = Release(token=lease.token, checkpoint=checkpoint, reason=reason)
        return lambda client: client.release(lease.id, release)

    def _checkpoint(self) -> tuple[int, Path]:
        state = self._opened().state
        path = self._folder / f"step-{state.step}.pt"
        state.save(path)
        return state.step, path

    def _send(
        self,
        upload: Upload,
        files: Sequence[Path] = (),
        *,
        news: News | None = None,
        ends: bool = False,
        keep: bool = True,
    ) -> None:
        """Hand one thing to the courier; once delivered, the curves up to here may be shown."""
        parcel = Parcel(self.holding, upload, news=news, ends=ends)
        spool = self._spool
        if spool is not None and keep:
            parcel.after = partial(spool.commit, spool.mark())
        self._sent.append(_Sent(parcel, files))
        self._closing = self._closing or ends
        self._courier.send(parcel)

    def _settle(self) -> None:
        """Take in what became of what was sent; close when the trial is over."""
        while self._sent and self._sent[0].parcel.settled:
            parcel, files = self._sent.popleft()
            for file in files:
                file.unlink(missing_ok=True)
            if parcel.refused and not parcel.ends:
                cause = FailureCause.STORAGE if parcel.full else FailureCause.ERROR
                self._fail(cause, parcel.refused)
        if not self.holding.open or (self._closing and not self._sent):
            self._end()

    def _end(self) -> None:
        self.over = True
        if self._spool is not None:
            self._spool.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.holding.lost:
            logger.warning("lease lost: %s", self.holding.reason, extra=self._who())
        elif self.holding.action is not Action.CONTINUE:
            logger.info("%s: %s", self.holding.action, self.holding.reason, extra=self._who())

    def _opened(self) -> Course:
        if self._course is None:
            raise RuntimeError("the training was not opened yet")
        return self._course

    def _who(self) -> Mapping[str, object]:
        return {"study": self.job.study_name, "trial": self.job.number, "step": self.holding.step}
