--! Previous: sha1:790505e67907badd5298369359c96fcced87b5c5
--! Hash: sha1:7f11d1974508867b60499e5422ab93603e9dbfb1
--! Message: machines say who they are

--! split: 1-current.sql
-- What changes, and why. A policy or function: edit its file in migrations/fixtures, and end with its line:
-- --! include policies/user_credentials.sql
-- Machines can say who they are, and see the name of their workspace.
--! Included functions/machines.sql
-- What a machine is and has, asked anew by each statement and each request: one that is removed is nobody at the next.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.machine_limit() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  given constant jsonb := (
    select jsonb_build_object(
      'credentials', to_jsonb(m.credentials), 'actions', '["read", "reveal"]'::jsonb, 'workspace', m.workspace_id)
    from keyrow.machines m where m.id = (select public.current_user_id()));
begin
  -- The server says so where the token is of an issuer that makes users alone: it must not make a machine.
  if given is not null and current_setting('keyrow.bearer', true) = 'person' then
    raise exception 'a person''s token names a machine' using errcode = 'invalid_authorization_specification';
  end if;
  return given;
end
$function$;
comment on function keyrow.machine_limit() is
  'What the asking machine is limited to, whatever its token says, as a limit of keyrow.limits(); null for a person. Raises where keyrow.bearer says that a person is asking.';
grant execute on function keyrow.machine_limit() to keyrow_user;

create or replace function keyrow.machine_workspace_id() returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $function$
begin
  return (select m.workspace_id from keyrow.machines m where m.id = (select public.current_user_id()));
end
$function$;
comment on function keyrow.machine_workspace_id() is
  'The workspace whose credentials the asking machine has; null for a person.';
grant execute on function keyrow.machine_workspace_id() to keyrow_user;

create or replace function keyrow.current_machine()
returns table (id uuid, name text, workspace_id uuid, credentials text[], token_ends timestamptz)
language plpgsql stable rows 1 security definer set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
    select m.id, m.name, m.workspace_id, m.credentials,
      to_timestamp(nullif(current_setting('keyrow.expires_at', true), '')::double precision)
    from keyrow.machines m where m.id = (select public.current_user_id());
end
$function$;
comment on function keyrow.current_machine() is
  'The asking machine, what it was given, and when its token ends; nothing for a person.';
grant execute on function keyrow.current_machine() to keyrow_user;

create or replace function keyrow.identified_machines(issuer text, claims jsonb) returns setof uuid
language sql stable rows 2 security definer set search_path = pg_catalog, pg_temp
as $function$
  select m.id from keyrow.machines m where m.issuer = $1 and $2 @> m.claims order by m.id limit 2
$function$;
comment on function keyrow.identified_machines(text, jsonb) is
  'The machines that an issuer''s token with these claims could be, two at most: a token is one machine, or none.';
grant execute on function keyrow.identified_machines(text, jsonb) to keyrow_authenticator;

create or replace function keyrow.is_machine(id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $function$
  select exists (select from keyrow.machines m where m.id = $1)
$function$;
comment on function keyrow.is_machine(uuid) is 'Whether there is such a machine.';
grant execute on function keyrow.is_machine(uuid) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/machines.sql
--! Included functions/limit_foundation.sql
-- What a limited token sees of the application's own tables, and that it changes none of them, and what a machine sees: for the tables that
-- foundation.sql made, which calls this again for those that it makes later. An application's own get the same policies
-- from its owner: `keyrow adopt` prints them.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.limit_foundation() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  it record;
  command text;
  rule text;
begin
  for it in
    select tables.* from (values
      ('users', 'id = (select public.current_user_id())', 'A limited token sees its own user alone.'),
      ('workspaces', 'id = all (array(select keyrow.limit_workspace_ids()))',
        'A token that is limited to a workspace sees that one alone.'),
      ('workspace_members',
        'user_id = (select public.current_user_id()) and workspace_id = all (array(select keyrow.limit_workspace_ids()))',
        'A limited token sees its own user''s memberships alone, and that of the workspace that it is limited to.'),
      ('activity_logs', 'false', 'A limited token reads nothing of the log, which tells of credentials beyond its limits.')
    ) as tables (name, sees, comment)
    join pg_class c on c.relname = tables.name and c.relnamespace = 'public'::regnamespace
      and pg_get_userbyid(c.relowner) = 'keyrow_owner'
  loop
    foreach command in array array['select', 'insert', 'update', 'delete'] loop
      rule := it.name || '_' || command || '_limited';
      execute format('drop policy if exists %I on public.%I', rule, it.name);
      execute format('create policy %I on public.%I as restrictive for %s to %s %s', rule, it.name, command,
        -- The log is written by keyrow_reveal, whatever the token's limits; a user's row at a first token is not.
        case when (it.name, command) = ('users', 'insert') then 'keyrow_user, keyrow_reveal' else 'keyrow_user' end,
        case command
          when 'select' then format('using ((select keyrow.is_unlimited()) or (%s))', it.sees)
          when 'insert' then 'with check ((select keyrow.is_unlimited()))'
          when 'update' then 'using ((select keyrow.is_unlimited())) with check ((select keyrow.is_unlimited()))'
          else 'using ((select keyrow.is_unlimited()))'
        end);
      execute format('comment on policy %I on public.%I is %L', rule, it.name,
        case command when 'select' then it.comment else 'A limited token writes nothing but credentials.' end);
    end loop;
    if it.name = 'workspaces' then
      drop policy if exists workspaces_select_machine on public.workspaces;
      create policy workspaces_select_machine on public.workspaces
        for select to keyrow_user using (id = (select keyrow.machine_workspace_id()));
      comment on policy workspaces_select_machine on public.workspaces is
        'A machine sees the workspace whose credentials it has.';
    end if;
  end loop;
end
$function$;
comment on function keyrow.limit_foundation() is
  'Makes the policies that hold limited tokens to their limits, on those of foundation.sql''s tables that are there.';

select keyrow.limit_foundation();
--! EndIncluded functions/limit_foundation.sql
