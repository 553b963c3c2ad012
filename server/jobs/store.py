"""Jobs over a database: submitted, worked on under a lease, followed, cancelled, deleted.

The table of jobs is the queue. A lease is an owner and an epoch that grows with each one who has
the job; what is written under an older one is refused, so that a process which was held up for long
changes nothing that another has taken over.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from lanner.core.errors import Argument, BusyError, ConfigError
from lanner.core.job import Progress
from server.database.engine import Database
from server.database.tables import events, jobs
from server.jobs.model import ENDED, STATE, Job, JobEvent, JobState, Lease, Limits, NewJob

_UNFINISHED = ("queued", "running")


class LeaseLostError(Exception):
    """Another has taken the job over, or it was deleted: what was done for it is not wanted."""


class JobStore:
    """Jobs of one database. Threads, and processes, share it.

    Every method raises `ServerError` where the database cannot be used; what it was to do is then
    done whole or not at all.

    Args:
        database: where they are kept.
        limits: how much is taken in.
    """

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self._database = database
        self._limits = limits or Limits()

    # ------------------------------------------------------------------------ what clients do

    def submit(self, new: NewJob) -> Job:
        """Take a job in; the one that is there already where its `request_id` is.

        Raises:
            BusyError: as many wait, or are this client's, as there may be.
            ConfigError: there is another job of that `request_id`.
        """
        with self._database.writing() as db:
            known = self._requested(db, new)
            if known is not None:
                return known
            self._admit(db, new.client)
            now = self._database.now(db)
            job = secrets.token_hex(16)
            db.execute(
                sa.insert(jobs).values(
                    id=job,
                    kind=new.kind,
                    client=new.client,
                    spec=dict(new.spec),
                    request_id=new.request_id,
                    call_id=new.call_id,
                    priority=new.priority,
                    state="queued",
                    created=now,
                    queue_until=None if new.queue_s is None else now + new.queue_s,
                )
            )
            self._enter(db, job, "queued", now)
            return _found(db, job)

    def get(self, job: str) -> Job | None:
        """A job, or None where there is none."""
        with self._database.reading() as db:
            row = db.execute(sa.select(jobs).where(jobs.c.id == job)).one_or_none()
        return None if row is None else _job(row)

    def list(
        self,
        client: str | None = None,
        states: Collection[JobState] = (),
        after: str | None = None,
        most: int = 100,
    ) -> Sequence[Job]:
        """Jobs, the oldest first.

        Args:
            client: whose; None: everybody's.
            states: in which they are; none: in any.
            after: id of the last job of the page before.
            most: so many at the most.
        """
        wanted = sa.select(jobs).order_by(jobs.c.created, jobs.c.id).limit(most)
        if client is not None:
            wanted = wanted.where(jobs.c.client == client)
        if states:
            wanted = wanted.where(jobs.c.state.in_(states))
        with self._database.reading() as db:
            if after is not None:
                last = db.execute(
                    sa.select(jobs.c.created, jobs.c.id).where(jobs.c.id == after)
                ).one_or_none()
                if last is not None:
                    place = sa.tuple_(jobs.c.created, jobs.c.id)
                    wanted = wanted.where(place > sa.tuple_(*map(sa.literal, last)))
            return [_job(row) for row in db.execute(wanted)]

    def cancel(self, job: str) -> Job | None:
        """Ask for a job's end: at once where it waits, soon where it runs; None: there is none."""
        with self._database.writing() as db:
            row = self._locked(db, job)
            if row is None:
                return None
            now = self._database.now(db)
            if row.state == "queued":
                self._end(db, job, "cancelled", now)
            elif row.state == "running":
                db.execute(sa.update(jobs).where(jobs.c.id == job).values(cancelling=True))
            return _found(db, job)

    def delete(self, job: str) -> bool:
        """Forget a job; whether there was one. Work on it is refused from then on."""
        with self._database.writing() as db:
            return db.execute(sa.delete(jobs).where(jobs.c.id == job)).rowcount > 0

    def ended_before(self, age_s: float) -> Sequence[str]:
        """Ids of jobs that ended so many seconds ago, or longer."""
        with self._database.reading() as db:
            until = self._database.now(db) - age_s
            wanted = sa.select(jobs.c.id).where(jobs.c.state.in_(ENDED), jobs.c.ended <= until)
            return list(db.execute(wanted).scalars())

    def ended_newest_first(self) -> Sequence[str]:
        """Ids of all jobs that ended."""
        with self._database.reading() as db:
            wanted = sa.select(jobs.c.id).where(jobs.c.state.in_(ENDED))
            return list(db.execute(wanted.order_by(jobs.c.ended.desc(), jobs.c.id)).scalars())

    def events(self, job: str, after: int = 0) -> Sequence[JobEvent]:
        """What happened to a job after the event of that number, in order."""
        wanted = (
            sa.select(events)
            .where(events.c.job == job, events.c.number > after)
            .order_by(events.c.number)
        )
        with self._database.reading() as db:
            return [JobEvent(row.number, row.at, row.kind, row.data) for row in db.execute(wanted)]

    # ------------------------------------------------------------------------ what workers do

    def claim(self, owner: str, lease_s: float) -> Lease | None:
        """Take the job whose turn it is: of the highest priority, then of the client with the
        fewest running ones, then the oldest. None where none waits.

        Args:
            owner: names this process, and no other one at any time.
            lease_s: seconds until the job is another's, unless the lease is renewed.
        """
        running = jobs.alias()
        busy = (
            sa.select(sa.func.count())
            .where(running.c.client == jobs.c.client, running.c.state == "running")
            .scalar_subquery()
        )
        with self._database.writing() as db:
            now = self._database.now(db)
            row = db.execute(
                sa.select(jobs.c.id, jobs.c.epoch)
                .where(
                    jobs.c.state == "queued",
                    sa.or_(jobs.c.queue_until.is_(None), jobs.c.queue_until > now),
                )
                .order_by(jobs.c.priority.desc(), busy, jobs.c.created, jobs.c.id)
                .limit(1)
                .with_for_update(skip_locked=True, of=jobs)
            ).one_or_none()
            if row is None:
                return None
            db.execute(
                sa.update(jobs)
                .where(jobs.c.id == row.id)
                .values(
                    state="running",
                    owner=owner,
                    epoch=row.epoch + 1,
                    lease_until=now + lease_s,
                    attempts=jobs.c.attempts + 1,
                    started=sa.func.coalesce(jobs.c.started, now),
                )
            )
            self._enter(db, row.id, "running", now)
            return Lease(_found(db, row.id), owner, row.epoch + 1)

    def renew(self, lease: Lease, lease_s: float, progress: Progress | None = None) -> bool:
        """Keep a job for longer, and say how far it is; whether its end was asked for.

        Raises:
            LeaseLostError: it is another's.
        """
        values = {} if progress is None else {**_progress(progress), **_got_to(progress.done)}
        with self._database.writing() as db:
            self._write(db, lease, lease_until=self._database.now(db) + lease_s, **values)
            return bool(
                db.execute(
                    sa.select(jobs.c.cancelling).where(jobs.c.id == lease.job.id)
                ).scalar_one()
            )

    def tell(self, lease: Lease, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event.

        Raises:
            LeaseLostError: the job is another's.
        """
        with self._database.writing() as db:
            self._write(db, lease)
            self._add_event(db, lease.job.id, kind, data, self._database.now(db))

    def finish(
        self,
        lease: Lease,
        state: JobState,
        *,
        result: Mapping[str, Any] | None = None,
        error: bytes | None = None,
    ) -> None:
        """End a job.

        Raises:
            LeaseLostError: it is another's.
        """
        with self._database.writing() as db:
            self._write(db, lease)
            self._end(db, lease.job.id, state, self._database.now(db), result, error)

    def release(self, lease: Lease) -> None:
        """Put a job back into the line, where it stood: another goes on with it.

        Raises:
            LeaseLostError: it is another's.
        """
        with self._database.writing() as db:
            # An attempt that was not let to its end counts for nothing against the job.
            self._write(db, lease, attempts=jobs.c.attempts - 1)
            self._requeue(db, lease.job.id, self._database.now(db))

    def reap(self, timeout_error: bytes, lost_error: bytes) -> int:
        """Put jobs back whose owner let its lease run out, and end those that waited too long or
        whose owners were lost too often.

        Args:
            timeout_error: of jobs that waited too long, as a serialised google.rpc.Status.
            lost_error: of jobs that were lost too often.

        Returns:
            How many jobs it changed.
        """
        # Asked every second, it seldom finds anything: nobody waits for it meanwhile.
        with self._database.reading() as db:
            now = self._database.now(db)
            if db.execute(sa.select(jobs.c.id).where(_late(now)).limit(1)).first() is None:
                return 0
        with self._database.writing() as db:
            now = self._database.now(db)
            late = db.execute(
                sa.select(jobs.c.id, jobs.c.state, jobs.c.losses, jobs.c.cancelling)
                .where(_late(now))
                .order_by(jobs.c.id)
                .with_for_update(skip_locked=True, of=jobs)
            ).all()
            for row in late:
                if row.state == "queued":
                    self._end(db, row.id, "failed", now, error=timeout_error)
                elif row.cancelling:
                    self._end(db, row.id, "cancelled", now)
                elif row.losses + 1 >= self._limits.losses:
                    self._end(db, row.id, "failed", now, error=lost_error)
                else:
                    self._requeue(db, row.id, now, losses=row.losses + 1)
            return len(late)

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        wanted = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._database.reading() as db:
            return {state: count for state, count in db.execute(wanted)}

    # ------------------------------------------------------------------------ parts of these

    def _requested(self, db: sa.Connection, new: NewJob) -> Job | None:
        if new.request_id is None:
            return None
        if db.dialect.name == "postgresql":
            # Two requests of one id at once take turns; what is not there cannot be locked.
            text = f"{new.client}\n{new.request_id}"
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(text))))
        row = db.execute(
            sa.select(jobs).where(jobs.c.client == new.client, jobs.c.request_id == new.request_id)
        ).one_or_none()
        if row is None:
            return None
        if (row.kind, row.spec) != (new.kind, dict(new.spec)):
            raise ConfigError(
                Argument("request_id"),
                new.request_id,
                "was given to another request",
                "choose a new one for every request that is not a repetition",
            )
        return _job(row)

    def _admit(self, db: sa.Connection, client: str) -> None:
        if db.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADMISSION)))
        waiting = db.execute(
            sa.select(sa.func.count()).where(jobs.c.state == "queued")
        ).scalar_one()
        if waiting >= self._limits.queued:
            raise BusyError(
                "queue",
                waiting,
                "as many jobs wait as this server accepts",
                "try again later",
            )
        own = db.execute(
            sa.select(sa.func.count()).where(jobs.c.client == client, jobs.c.state.in_(_UNFINISHED))
        ).scalar_one()
        if own >= self._limits.of_client:
            raise BusyError(
                "client",
                client,
                f"has {own} jobs that wait or run, as many as one client may have",
                "wait until one of them has ended",
            )

    def _locked(self, db: sa.Connection, job: str) -> Any:
        """The row of a job, kept from others until the transaction ends; None: there is none."""
        return db.execute(sa.select(jobs).where(jobs.c.id == job).with_for_update()).one_or_none()

    def _write(self, db: sa.Connection, lease: Lease, **values: Any) -> None:
        """Change a job under its lease; with no values, only see that it is still held."""
        changed = db.execute(
            sa.update(jobs)
            .where(
                jobs.c.id == lease.job.id,
                jobs.c.state == "running",
                jobs.c.owner == lease.owner,
                jobs.c.epoch == lease.epoch,
            )
            .values(values or {"owner": lease.owner})
        )
        if changed.rowcount != 1:
            raise LeaseLostError(lease.job.id)

    def _requeue(self, db: sa.Connection, job: str, now: float, **values: Any) -> None:
        db.execute(
            sa.update(jobs)
            .where(jobs.c.id == job)
            .values(state="queued", owner=None, lease_until=None, **_WAITING, **values)
        )
        self._enter(db, job, "queued", now)

    def _end(
        self,
        db: sa.Connection,
        job: str,
        state: JobState,
        now: float,
        result: Mapping[str, Any] | None = None,
        error: bytes | None = None,
    ) -> None:
        assert state in ENDED
        db.execute(
            sa.update(jobs)
            .where(jobs.c.id == job)
            .values(
                state=state,
                ended=now,
                owner=None,
                lease_until=None,
                queue_until=None,
                result=None if result is None else dict(result),
                error=error,
            )
        )
        self._enter(db, job, state, now)

    def _enter(self, db: sa.Connection, job: str, state: JobState, now: float) -> None:
        """Note that a job came into a state, with the time."""
        self._add_event(db, job, STATE, {"state": state}, now)

    def _add_event(
        self, db: sa.Connection, job: str, kind: str, data: Mapping[str, Any], now: float
    ) -> None:
        number = db.execute(
            sa.update(jobs)
            .where(jobs.c.id == job)
            .values(last_event=jobs.c.last_event + 1)
            .returning(jobs.c.last_event)
        ).scalar_one()
        db.execute(
            sa.insert(events).values(job=job, number=number, at=now, kind=kind, data=dict(data))
        )


_ADMISSION = 0x6C616E6F
"""Of PostgreSQL's advisory locks: requests are counted in turns."""

_WAITING = {"stage": "queued", "done": 0, "total": 0, "queue_until": None}
"""Of a job that goes back into the line: it had its turn, and waits for another without a limit."""


def _late(now: float) -> sa.ColumnElement[bool]:
    """Whether a job has waited too long, or its owner has been silent too long."""
    return sa.or_(
        sa.and_(jobs.c.state == "queued", jobs.c.queue_until <= now),
        sa.and_(jobs.c.state == "running", jobs.c.lease_until <= now),
    )


def _progress(progress: Progress) -> dict[str, Any]:
    return {"stage": progress.stage[:200], "done": progress.done, "total": progress.total}


def _got_to(done: int) -> dict[str, Any]:
    """What changes where more pieces of a stage are done than ever before."""
    is_further = jobs.c.furthest < done
    return {
        "losses": sa.case((is_further, 0), else_=jobs.c.losses),
        "furthest": sa.case((is_further, done), else_=jobs.c.furthest),
    }


def _found(db: sa.Connection, job: str) -> Job:
    return _job(db.execute(sa.select(jobs).where(jobs.c.id == job)).one())


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        client=row.client,
        spec=row.spec,
        request_id=row.request_id,
        priority=row.priority,
        state=row.state,
        created=row.created,
        queue_until=row.queue_until,
        started=row.started,
        ended=row.ended,
        cancelling=row.cancelling,
        attempts=row.attempts,
        progress=Progress(row.stage, row.done, row.total),
        result=row.result,
        error=row.error,
        last_event=row.last_event,
        call_id=row.call_id,
    )
