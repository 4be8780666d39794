-- The two roles and the database of a desk; run once as the cluster's superuser, with psql:
--   psql -v owner_password=… -v app_password=… -f deploy/roles.sql
-- The owner migrates (DATABASE_OWNER_URL). The application's role reads and writes rows and owns nothing
-- (DATABASE_URL); each migration grants it what is right, and takes UPDATE and DELETE on evidence away.
CREATE ROLE owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';
CREATE DATABASE controlplane OWNER owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE controlplane FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE controlplane TO app;
