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
