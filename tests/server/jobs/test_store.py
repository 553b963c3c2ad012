"""Jobs in an SQLite file."""

import sqlite3

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from lanner.core.errors import ConfigError, ServerError
from server.database.engine import Database
from server.database.tables import metadata
from server.jobs.store import JobStore
from tests.fixtures_jobs import JobsBehave, new, store

__all__ = ["store"]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/new/jobs.sqlite"


class TestSqlite(JobsBehave):
    """All of it."""


def test_migrations_make_the_tables_that_the_code_uses(url):
    Database(url).close()
    with sa.create_engine(url).connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": "lanner_version"})
        assert compare_metadata(context, metadata) == []


def test_tables_of_a_later_version_are_refused(url, tmp_path):
    Database(url).close()
    with sqlite3.connect(tmp_path / "new" / "jobs.sqlite") as db:
        db.execute("UPDATE lanner_version SET version_num = '9999'")
    with pytest.raises(ServerError, match="later version"):
        Database(url)


@pytest.mark.parametrize("url", ["jobs.sqlite", "oracle+what://x", "mysql+nothing://x/y"])
def test_what_is_no_database_is_told(url):
    with pytest.raises(ConfigError, match="database"):
        Database(url)


def test_a_password_is_never_told(tmp_path):
    with pytest.raises(ServerError) as caught:
        Database("postgresql+psycopg://me:s3cret@127.0.0.1:1/lanner?connect_timeout=2")
    assert "s3cret" not in str(caught.value)


def test_a_full_disk_is_told_and_leaves_the_jobs_as_they_were(url, tmp_path):
    database = Database(url)
    jobs = JobStore(database)
    first = jobs.submit(new())
    with sa.create_engine(url).connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit = f"PRAGMA max_page_count = {pages}"
    sa.event.listen(database._engine, "begin", lambda db: db.exec_driver_sql(limit))
    with pytest.raises(ServerError, match="full"):
        for _ in range(100):
            jobs.submit(new())
    assert jobs.get(first.id) == first
    assert all(one.state == "queued" for one in jobs.list())
    database.close()
