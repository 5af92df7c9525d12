"""The tables of the DuckDB file, and how rows move on in them.

A closed tick is one row with a list of its values; `shape` says of which metrics. New rows are in the order
in which they came, which is what reading all entities at one time wants. Reading one entity over a long time
wants its rows beside each other: so rows move on, sorted by entity, from table to table, and each is sorted
twice in its life. There are no indexes, which would cost more than the rows.
"""

import duckdb

ROW = """(
    world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, tick_ms BIGINT, simulated BOOLEAN,
    complete BOOLEAN, shape INTEGER, numbers DOUBLE[], qualities VARCHAR
)"""
"""`qualities` has a digit for each of the numbers: 0 measured, 1 interpolated, 2 held, 3 unknown."""

NEW, PART, SORTED = "tick_new", "tick_part", "tick_sorted"

LEVELS = ((NEW, 50_000, PART), (PART, 500_000, SORTED))
"""From where, at how many rows, whereto. Sorting takes 0.1 s for the first step, 1 s for the second."""

TABLES = f"""
CREATE TABLE IF NOT EXISTS shape (number INTEGER, metrics VARCHAR[]);
CREATE TABLE IF NOT EXISTS {NEW} {ROW};
CREATE TABLE IF NOT EXISTS {PART} {ROW};
CREATE TABLE IF NOT EXISTS {SORTED} {ROW};
CREATE TABLE IF NOT EXISTS entity_state (
    world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, at_ms BIGINT,
    status VARCHAR, reason VARCHAR, attributes VARCHAR, removed BOOLEAN, simulated BOOLEAN
);
CREATE VIEW IF NOT EXISTS closed_tick AS
    SELECT * FROM {SORTED} UNION ALL SELECT * FROM {PART} UNION ALL SELECT * FROM {NEW};
CREATE VIEW IF NOT EXISTS tick AS
    WITH named AS (
        SELECT number, unnest(metrics) AS metric, generate_subscripts(metrics, 1) AS place FROM shape
    )
    SELECT world, kind, id, nodepool, tick_ms, metric, numbers[place] AS value,
        qualities[place]::UTINYINT AS quality, simulated, complete
    FROM closed_tick JOIN named ON number = shape;
"""  # noqa: S608  # names of our own
"""`tick` is for people: a row for each value."""

MIGRATE_MS = 6 * 3_600_000
"""[ms] Of the old table that is converted at a time."""


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what is not there; convert a table `tick` of an earlier version, with a row for each value."""
    old = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'tick'"
    if connection.execute(old).fetchone():
        connection.execute("ALTER TABLE tick RENAME TO tick_long")
        connection.execute(TABLES)
        _convert(connection)
        connection.execute("DROP TABLE tick_long")
    else:
        connection.execute(TABLES)


def _convert(connection: duckdb.DuckDBPyConnection) -> None:
    first_ms, last_ms = connection.execute("SELECT min(tick_ms), max(tick_ms) FROM tick_long").fetchall()[0]
    if first_ms is None:
        return
    for start_ms in range(first_ms, last_ms + 1, MIGRATE_MS):
        # Which ticks were complete was not written then.
        connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE converted AS SELECT
                world, kind, id, any_value(nodepool) AS nodepool, tick_ms, any_value(simulated) AS simulated,
                list(metric ORDER BY metric) AS metrics, list(value ORDER BY metric) AS numbers,
                string_agg(quality::VARCHAR, '' ORDER BY metric) AS qualities
            FROM tick_long WHERE tick_ms >= $1 AND tick_ms < $2 GROUP BY world, kind, id, tick_ms
            """,
            [start_ms, start_ms + MIGRATE_MS],
        )
        connection.execute(
            """
            INSERT INTO shape SELECT (SELECT count(*) FROM shape) + row_number() OVER () - 1, metrics
            FROM (SELECT metrics FROM converted EXCEPT SELECT metrics FROM shape)
            """
        )
        connection.execute(
            f"""
            INSERT INTO {SORTED} SELECT
                world, kind, id, nodepool, tick_ms, simulated, NULL, number, numbers, qualities
            FROM converted JOIN shape USING (metrics) ORDER BY world, kind, id, tick_ms
            """  # noqa: S608  # names of our own
        )
    connection.execute("DROP TABLE converted")


def shapes_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], int]:
    """The number of each list of metrics."""
    rows = connection.execute("SELECT metrics, number FROM shape").fetchall()
    return {tuple(metrics): number for metrics, number in rows}


def move_on(connection: duckdb.DuckDBPyConnection) -> None:
    """Sort the rows of each table that has enough of them into the next one."""
    for source, enough, target in LEVELS:
        count = connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]  # noqa: S608  # our own
        if count >= enough:
            connection.execute(
                f"BEGIN; INSERT INTO {target} SELECT * FROM {source} ORDER BY world, kind, id, tick_ms;"  # noqa: S608  # our own
                f" DELETE FROM {source}; COMMIT;"
            )


def sweep(connection: duckdb.DuckDBPyConnection, oldest_ms: int) -> None:
    """Delete what is older, but for the change of each entity that was still in force at `oldest_ms`."""
    for table in (NEW, PART, SORTED):
        connection.execute(f"DELETE FROM {table} WHERE tick_ms < $1", [oldest_ms])  # noqa: S608  # our own
    connection.execute(
        """
        DELETE FROM entity_state USING (
            SELECT world, kind, id, max(at_ms) AS at_ms FROM entity_state WHERE at_ms < $1
            GROUP BY world, kind, id
        ) newest
        WHERE entity_state.at_ms < $1 AND entity_state.world = newest.world
            AND entity_state.kind = newest.kind AND entity_state.id = newest.id
            AND (entity_state.at_ms < newest.at_ms OR entity_state.removed)
        """,
        [oldest_ms],
    )
