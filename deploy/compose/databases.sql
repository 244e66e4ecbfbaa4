-- Run once, by Postgres' image on an empty volume.
\getenv dagster_password DAGSTER_PG_PASSWORD
\set store_password `cat /run/secrets/store-password`
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE dagster FROM PUBLIC;
CREATE ROLE lms_crm LOGIN PASSWORD :'store_password';
CREATE DATABASE lms_crm OWNER lms_crm ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE lms_crm FROM PUBLIC;
