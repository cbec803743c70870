"""The owner of each database: a role of one service, which no other role may connect as or to.

The same rights as `deploy/postgres/databases.sh` gives in containers; see
docs/adr/0029-rights-on-nats-and-postgresql.md.
"""

from kit.connection import connect

_IS_OWNER = """
SELECT EXISTS (
    SELECT FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database() AND rolname = $1
)
"""
_ROLE = "SELECT format('%s ROLE %I LOGIN PASSWORD %L', $1::text, $2::text, $3::text)"
_OBJECTS = """
SELECT format('ALTER %s %s OWNER TO %I', kind, name, $1::text) FROM (
    SELECT CASE relkind
        WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE'
    END, oid::regclass::text, relowner
    FROM pg_class AS relation
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (
        SELECT FROM pg_depend  -- the sequence of a column has the owner of its table
        WHERE classid = 'pg_class'::regclass AND objid = relation.oid AND relkind = 'S' AND deptype IN ('a', 'i')
    )
    UNION ALL
    SELECT 'TYPE', oid::regtype::text, typowner FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    UNION ALL
    SELECT 'ROUTINE', oid::regprocedure::text, proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS owned (kind, name, owner)
WHERE pg_get_userbyid(owner) <> $1::text
"""
_DATABASE = "SELECT format('ALTER DATABASE %I OWNER TO %I', current_database(), $1::text)"
_REVOKE = "SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database())"


async def give_database(url: str, role: str, password: str) -> bool:
    """Make `role` the owner of the database at `url` and of all in its schema `public`; return if the database was not.

    `url` has the superuser's login. The role is created if it is missing, and has this password from now on. All of it
    is one transaction. Raises asyncpg's errors, and `OSError` if the server cannot be reached.
    """
    connection = await connect(url)
    try:
        async with connection.transaction():
            exists = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role)
            verb = "ALTER" if exists else "CREATE"
            await connection.execute(await connection.fetchval(_ROLE, verb, role, password))
            # Not REASSIGN OWNED: PostgreSQL refuses it for the superuser that initdb has made.
            for (statement,) in await connection.fetch(_OBJECTS, role):
                await connection.execute(statement)
            if await connection.fetchval(_IS_OWNER, role):
                return False
            await connection.execute(await connection.fetchval(_DATABASE, role))
            await connection.execute(await connection.fetchval(_REVOKE))
        return True
    finally:
        await connection.close()
