-- What a database needs before anything else, once, by its owner. Safe to run again.
create extension if not exists "uuid-ossp" with schema public;

-- A temporary table named like one of ours comes first in every search path: tried, a temporary
-- workspace_members fools is_workspace_admin.
do $database$
begin
  execute format('revoke temporary on database %I from public', current_database());
  execute format('grant create on database %I to keyrow_owner', current_database());
  execute format(
    'grant connect on database %I to keyrow_authenticator, keyrow_worker, keyrow_migrate', current_database());
end
$database$;

create schema if not exists keyrow;
comment on schema keyrow is
  'What is Keyrow''s own: functions and later tables. No API exposes it by itself.';
grant usage, create on schema keyrow to keyrow_owner with grant option;
grant usage on schema keyrow to keyrow_authenticator, keyrow_user, keyrow_reveal, keyrow_upkeep, keyrow_worker, keyrow_admin;

revoke create on schema public from public;
grant usage, create on schema public to keyrow_owner with grant option;
grant usage on schema public to keyrow_user, keyrow_reveal, keyrow_upkeep, keyrow_worker, keyrow_admin;

-- Of what belongs to another role, a right is taken with no more than a warning.
do $database$
declare
  public_owner text := (
    select quote_ident(pg_get_userbyid(nspowner)) from pg_catalog.pg_namespace where nspname = 'public');
begin
  if exists (
    select from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) acl
    where n.nspname = 'public' and acl.grantee = 0 and acl.privilege_type = 'CREATE')
    or not has_schema_privilege('keyrow_owner', 'public', 'create with grant option')
  then
    raise exception 'the schema public belongs to %, and this login may not say who creates in it', public_owner
      using errcode = 'insufficient_privilege',
        hint = 'Let a superuser run, in this database: alter schema public owner to pg_database_owner;';
  end if;
  if exists (
    select from pg_catalog.pg_database d, pg_catalog.aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) acl
    where d.datname = current_database() and acl.grantee = 0 and acl.privilege_type = 'TEMPORARY')
  then
    raise exception 'this login does not own the database, and may not say who makes temporary tables in it'
      using errcode = 'insufficient_privilege', hint = 'Run this as the owner of the database.';
  end if;
end
$database$;
