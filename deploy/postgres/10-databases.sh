#!/bin/sh
# Runs once, when the cluster is new: a database for each service, an owner role that migrates it
# and a runtime role that serves from it. Nobody reaches a database but their own.
set -eu

password() { sed 's|.*://[^:]*:\([^@]*\)@.*|\1|' "/run/secrets/$1-url"; }

sql() { psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$1"; }

sql postgres <<SQL
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL

for service in quote prediction subscription; do
    # The statements come by standard input, where no list of processes shows the passwords.
    sql postgres <<SQL
SET log_min_error_statement = panic;
CREATE ROLE ${service}_owner LOGIN PASSWORD '$(password "$service-owner")';
CREATE ROLE ${service} LOGIN PASSWORD '$(password "$service-runtime")';
CREATE DATABASE ${service} OWNER ${service}_owner;
REVOKE ALL ON DATABASE ${service} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${service} TO ${service};
SQL
    sql "$service" <<SQL
ALTER SCHEMA public OWNER TO ${service}_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ${service};
ALTER DEFAULT PRIVILEGES FOR ROLE ${service}_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${service};
ALTER DEFAULT PRIVILEGES FOR ROLE ${service}_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO ${service};
SQL
done
