#!/bin/sh
# Creates each service's database and the only role with access to it; the image runs this once, on empty data.
set -eu

# A password may also be in the file that NAME_FILE names.
while IFS='=' read -r name file; do
  [ -n "$file" ] || continue
  password=$(cat "$file")
  export "${name%_FILE}=$password"
done <<FILES
$(env | grep '_DB_PASSWORD_FILE=' || true)
FILES

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv users_password USERS_DB_PASSWORD
\getenv payments_password PAYMENTS_DB_PASSWORD
CREATE ROLE users LOGIN PASSWORD :'users_password';
CREATE ROLE payments LOGIN PASSWORD :'payments_password';
CREATE DATABASE users_db OWNER users;
CREATE DATABASE payments_db OWNER payments;
REVOKE ALL ON DATABASE users_db, payments_db FROM PUBLIC;
SQL
