"""SQL on the tables of any contender: their names and columns are found by what they contain."""

from collections.abc import Mapping

import asyncpg

_COLUMNS = (
    "SELECT column_name, data_type FROM information_schema.columns "
    "WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position"
)


async def table_with(connection: asyncpg.Connection, column: str) -> str | None:
    """Return the name of the table that has `column`, quoted for SQL, or None."""
    query = (
        "SELECT quote_ident(table_name) FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND column_name = $1 "
        "AND table_type = 'BASE TABLE' ORDER BY length(table_name) LIMIT 1"
    )
    name: str | None = await connection.fetchval(query, column)
    return name


async def column_of(connection: asyncpg.Connection, table: str, *names: str) -> str:
    """Return the one of `names` that the table has, quoted for SQL; raises `LookupError` if it has none of them."""
    for row in await connection.fetch(_COLUMNS, table.strip('"')):
        if row["column_name"] in names:
            return f'"{row["column_name"]}"'
    raise LookupError(f"the table {table} has none of the columns {', '.join(names)}")


async def copy_row(
    connection: asyncpg.Connection,
    table: str,
    number: int,
    changed: Mapping[str, str],
    *,
    into: str | None = None,
    where: str = "true",
) -> None:
    """Insert `number` copies of the first row `where` holds, with new ids and other `changed` columns.

    The values of `changed` are SQL expressions, in which `n` counts from 1.
    """
    columns, values = [], []
    for row in await connection.fetch(_COLUMNS, table.strip('"')):
        name = row["column_name"]
        if name == "id" and name not in changed:
            if row["data_type"] != "uuid":
                continue  # a sequence numbers it
            value = "gen_random_uuid()"
        else:
            value = changed.get(name, f'template."{name}"')
        columns.append(f'"{name}"')
        values.append(value)
    await connection.execute(
        f"INSERT INTO {into or table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608 - fixed parts
        f"FROM (SELECT * FROM {table} WHERE {where} LIMIT 1) AS template, generate_series(1, {number}) AS n"
    )
