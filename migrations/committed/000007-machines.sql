--! Previous: sha1:53c97fa38cbd91ba7a026cced28b972b21562784
--! Hash: sha1:ba6036522e344e69a9c4a5a295fa90b95d3809e5
--! Message: machines

--! split: 1-current.sql
-- Machines: identities that are no person, and have what they were given alone.
create table if not exists keyrow.machines (
  id uuid primary key default gen_random_uuid(),
  name text not null unique check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  issuer text check (length(issuer) between 1 and 255),
  -- Of an issuer's tokens, those that say all of this: without a claim it would be every one of them.
  claims jsonb not null default '{}' check (
    jsonb_typeof(claims) = 'object' and not jsonb_path_exists(claims, '$.* ? (@.type() != "string")')
    and (issuer is null) = (claims = '{}')),
  workspace_id uuid not null references public.workspaces (id) on delete cascade on update cascade,
  credentials text[] not null check (
    cardinality(credentials) > 0 and keyrow.is_limit(jsonb_build_object('credentials', to_jsonb(credentials)))),
  created_at timestamptz not null default now(),
  created_by text not null default session_user
);
create index if not exists machines_issuer_idx on keyrow.machines (issuer);
create index if not exists machines_workspace_id_idx on keyrow.machines (workspace_id);
comment on table keyrow.machines is 'A job, script or service that comes with a token of its own. No user, and member of nothing.';
comment on column keyrow.machines.id is 'What current_user_id() gives and the log says of it.';
comment on column keyrow.machines.name is 'What admins call it.';
comment on column keyrow.machines.issuer is 'Exactly what its tokens have as `iss`; null where they come from `keyrow machine token`.';
comment on column keyrow.machines.claims is 'What its tokens say, each claim as a text: all of it, exactly.';
comment on column keyrow.machines.workspace_id is 'The workspace whose credentials it has.';
comment on column keyrow.machines.credentials is 'Which of them, as patterns `provider/name`.';
comment on column keyrow.machines.created_at is 'Since when.';
comment on column keyrow.machines.created_by is 'The login of the DB admin who made it.';

--! Included policies/machines.sql
-- Who may say what a machine is and has: DB admins. No API role sees it; the functions in functions/machines.sql answer
-- what policies and the server ask.
alter table keyrow.machines enable row level security;
alter table keyrow.machines force row level security;

revoke all on keyrow.machines from public, keyrow_user, keyrow_anonymous, keyrow_reveal, keyrow_worker, keyrow_admin;
-- Made and taken away, never changed: what the log says of its id stays true of one machine.
grant select, insert (name, issuer, claims, workspace_id, credentials), delete on keyrow.machines to keyrow_admin;
grant select on keyrow.machines to keyrow_reveal;

drop policy if exists machines_all_maintenance on keyrow.machines;
create policy machines_all_maintenance on keyrow.machines
  for all to keyrow_owner, keyrow_admin using (true) with check (true);
comment on policy machines_all_maintenance on keyrow.machines is
  'The table''s owner and DB admins manage machines.';

drop policy if exists machines_select_reveal on keyrow.machines;
create policy machines_select_reveal on keyrow.machines
  for select to keyrow_reveal using (true);
comment on policy machines_select_reveal on keyrow.machines is
  'Policies ask what the asking machine has, and the server which machine a token is.';
--! EndIncluded policies/machines.sql
--! Included functions/machines.sql
-- What a machine is and has, asked anew by each statement and each request: one that is removed is nobody at the next.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.machine_limit() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $function$
begin
  return (
    select jsonb_build_object(
      'credentials', to_jsonb(m.credentials), 'actions', '["read", "reveal"]'::jsonb, 'workspace', m.workspace_id)
    from keyrow.machines m where m.id = (select public.current_user_id()));
end
$function$;
comment on function keyrow.machine_limit() is
  'What the asking machine is limited to, whatever its token says, as a limit of keyrow.limits(); null for a person.';
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
--! Included functions/limits.sql
-- What a token may do, where that is less than its user may. The setting keyrow.limits holds the limits of a request, all
-- of which must hold; docs/tokens.md says what they mean. Restrictive policies ask these functions, once per statement;
-- who has no limits pays for one call.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.is_limit(value jsonb) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $function$
declare
  credentials jsonb := value -> 'credentials';
  actions jsonb := value -> 'actions';
  workspace jsonb := value -> 'workspace';
begin
  -- One after the other: what looks into an object or an array raises where there is none.
  if jsonb_typeof(value) is distinct from 'object' then
    return false;
  end if;
  if value - array['credentials', 'actions', 'workspace'] <> '{}'
    or jsonb_typeof(credentials) <> 'array'
    or jsonb_typeof(actions) <> 'array'
    or jsonb_typeof(workspace) <> 'string'
  then
    return false;
  end if;
  if jsonb_array_length(credentials) > 100 or jsonb_array_length(actions) > 3 then
    return false;
  end if;
  return not exists (
      select from jsonb_array_elements(credentials) pattern
      where jsonb_typeof(pattern) <> 'string'
        -- Control characters separate what is compared.
        or pattern #>> '{}' !~ '^[^/\u0001-\u001f\u007f-\u009f]{1,100}/[^\u0001-\u001f\u007f-\u009f]{1,255}$')
    and not exists (
      select from jsonb_array_elements(actions) action where action not in ('"read"', '"reveal"', '"write"'))
    and (workspace is null
      or workspace #>> '{}' ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$');
end
$function$;
comment on function keyrow.is_limit(jsonb) is
  'Whether a limit can be understood: an object of `credentials` (patterns `provider/name`), `actions` and `workspace`.';
-- keyrow_admin makes machines, whose table asks it.
grant execute on function keyrow.is_limit(jsonb) to keyrow_user, keyrow_reveal, keyrow_admin;

create or replace function keyrow.limits() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
declare
  said text := nullif(current_setting('keyrow.limits', true), '');
  -- A machine has what it was given and no more, whatever its token says.
  given jsonb := '[]' || keyrow.machine_limit();
  claims jsonb;
  limits jsonb;
begin
  if said = 'none' then
    return given;
  end if;
  if said is not null then
    limits := said::jsonb;
  else
    claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    if claims is null then
      -- Where nobody asks, nobody's token has limits, and no policy for a request lets anything be seen.
      if public.current_user_id() is null then
        return null;
      end if;
      raise exception 'the limits of the token are not set'
        using errcode = 'invalid_authorization_specification', hint = 'set keyrow.limits: none, or an array of limits';
    end if;
    if jsonb_typeof(claims) = 'object' and not claims ? 'keyrow' then
      return given;
    end if;
    limits := claims -> 'keyrow';
    if jsonb_typeof(limits) = 'object' then
      limits := jsonb_build_array(limits);
    end if;
  end if;
  if jsonb_typeof(limits) = 'array' then
    if jsonb_array_length(limits) between 1 and 32
      and not exists (select from jsonb_array_elements(limits) one where not keyrow.is_limit(one))
    then
      return limits || coalesce(given, '[]');
    end if;
  end if;
  raise exception 'the limits of the token can''t be understood' using errcode = 'invalid_authorization_specification';
end
$function$;
comment on function keyrow.limits() is
  'The limits of the asking token, all of which must hold: keyrow.limits, or where that is unset the claim `keyrow` of request.jwt.claims; and what a machine was given. Null: it has none. Raises where they are not set, or can''t be understood.';
grant execute on function keyrow.limits() to keyrow_user, keyrow_reveal;

create or replace function keyrow.is_unlimited() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
begin
  return keyrow.limits() is null;
end
$function$;
comment on function keyrow.is_unlimited() is 'Whether the asking token may do all that its user may.';
grant execute on function keyrow.is_unlimited() to keyrow_user, keyrow_reveal;

-- Provider, name and workspace are compared as one text, with a separator between them that no part can hold: so each
-- side of a pattern is matched by itself, and a statement compares each row with one expression for each limit.
create or replace function keyrow.limit_patterns(action text) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
declare
  anything constant text := '[^' || chr(1) || ']*';
begin
  return array(
    select
      case
        when not (one -> 'actions' ?| case action when 'read' then array['read', 'reveal', 'write'] else array[action] end)
          or one -> 'credentials' = '[]'
        -- What is compared is never empty.
        then '^$'
        else format(
          '^(?:%s)%s%s$',
          coalesce(
            (select string_agg(
              replace(
                regexp_replace(overlay(pattern placing chr(1) from position('/' in pattern) for 1), '[][\\(){}.^$|?+]', '\\\&', 'g'),
                '*', anything), '|')
            from jsonb_array_elements_text(one -> 'credentials') pattern),
            anything || chr(1) || anything),
          chr(1), coalesce(lower(one ->> 'workspace'), anything))
      end
    from jsonb_array_elements(keyrow.limits()) one);
end
$function$;
comment on function keyrow.limit_patterns(text) is
  'What a credential has to match for an action of the asking token (`read`, `reveal` or `write`): a regular expression for each limit.';
grant execute on function keyrow.limit_patterns(text) to keyrow_user, keyrow_reveal;

-- Inlined into the policies.
create or replace function keyrow.is_within(patterns text[], provider text, name text, workspace_id uuid) returns boolean
language sql immutable
return (
  pg_catalog.translate(provider, pg_catalog.chr(1), pg_catalog.chr(2)) || pg_catalog.chr(1)
  || pg_catalog.translate(name, pg_catalog.chr(1), pg_catalog.chr(2)) || pg_catalog.chr(1)
  || coalesce(workspace_id::text, '')
) collate "C" ~ all (patterns);
comment on function keyrow.is_within(text[], text, text, uuid) is
  'Whether a credential of this provider, name and workspace matches what limit_patterns gave.';
grant execute on function keyrow.is_within(text[], text, text, uuid) to keyrow_user, keyrow_reveal;

create or replace function keyrow.limit_workspace_ids() returns setof uuid
language plpgsql stable rows 1 set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
    select (one ->> 'workspace')::uuid
    from jsonb_array_elements(keyrow.limits()) one
    -- A limit that allows nothing gives null, which no workspace is.
    where one ? 'workspace' or one -> 'actions' = '[]' or one -> 'credentials' = '[]';
end
$function$;
comment on function keyrow.limit_workspace_ids() is
  'The workspaces that limits of the asking token name: a workspace has to be all of them. None: it is not limited to one.';
grant execute on function keyrow.limit_workspace_ids() to keyrow_user, keyrow_reveal;
--! EndIncluded functions/limits.sql
--! Included policies/user_credentials.sql
-- Who may do what to a credential. Safe to run again.
--
-- Listing is `select` as keyrow_user; revealing is `select` as keyrow_reveal, with the same claims. A policy that
-- means both names both; a policy `to keyrow_user` alone lets somebody list but not reveal.
alter table public.user_credentials enable row level security;
alter table public.user_credentials force row level security;

revoke all on public.user_credentials from public, keyrow_user, keyrow_anonymous, keyrow_reveal, keyrow_worker, keyrow_admin;

-- Everything but encrypted_value, which leaves through keyrow.reveal_user_credentials alone.
grant select (
  id, user_id, workspace_id, name, provider, type, scope, masked_value, description, expires_at, last_used_at,
  metadata, is_active, rotated_at, created_at, updated_at, key_id
), delete on public.user_credentials to keyrow_user, keyrow_admin;
grant insert (
  id, user_id, workspace_id, name, provider, type, scope, encrypted_value, masked_value, description, expires_at,
  metadata, key_id
) on public.user_credentials to keyrow_user, keyrow_admin;
-- Neither owner, scope nor workspace: the value is bound to them.
grant update (
  name, provider, type, encrypted_value, masked_value, description, expires_at, metadata, is_active, key_id
) on public.user_credentials to keyrow_user, keyrow_admin;
-- For a handover of WORKSPACE and SYSTEM credentials.
grant update (user_id) on public.user_credentials to keyrow_admin;
grant select on public.user_credentials to keyrow_reveal;
grant select, update (encrypted_value, key_id, last_used_at) on public.user_credentials to keyrow_worker;

drop policy if exists user_credentials_owner_bypass on public.user_credentials;
create policy user_credentials_owner_bypass on public.user_credentials
  for all to keyrow_owner, keyrow_admin
  using ((select public.current_user_id()) is null)
  with check ((select public.current_user_id()) is null);
comment on policy user_credentials_owner_bypass on public.user_credentials is
  'Maintenance: the table''s owner and DB admins, where no claims are set. The only way to change SYSTEM credentials.';

drop policy if exists user_credentials_user_access on public.user_credentials;
create policy user_credentials_user_access on public.user_credentials
  for all to keyrow_user, keyrow_reveal
  using (scope = 'USER' and user_id = (select public.current_user_id()))
  with check (scope = 'USER' and user_id = (select public.current_user_id()));
comment on policy user_credentials_user_access on public.user_credentials is
  'A USER credential belongs to its owner alone, to list, change and reveal.';

-- Asked only where there are claims: the function raises without, and a DB admin's reveal of SYSTEM rows has none.
drop policy if exists user_credentials_workspace_access on public.user_credentials;
create policy user_credentials_workspace_access on public.user_credentials
  for all to keyrow_user, keyrow_reveal
  using (
    scope = 'WORKSPACE'
    and workspace_id = any (array(
      select keyrow.admin_workspace_ids() where (select public.current_user_id()) is not null)))
  with check (
    scope = 'WORKSPACE'
    and workspace_id = any (array(
      select keyrow.admin_workspace_ids() where (select public.current_user_id()) is not null)));
comment on policy user_credentials_workspace_access on public.user_credentials is
  'A WORKSPACE credential belongs to the workspace''s owners and admins, to list, change and reveal.';

-- The login is asked, and not the role it has taken: one that can't become keyrow_admin sees no SYSTEM row through any
-- function of keyrow_reveal, and neither does a request, which has claims.
drop policy if exists user_credentials_select_system_reveal on public.user_credentials;
create policy user_credentials_select_system_reveal on public.user_credentials
  for select to keyrow_reveal
  using (
    scope = 'SYSTEM'
    and (select public.current_user_id()) is null
    and (select pg_catalog.pg_has_role(session_user, 'keyrow_admin', 'MEMBER'))
  );
comment on policy user_credentials_select_system_reveal on public.user_credentials is
  'A SYSTEM credential is revealed to DB admins alone, where no claims are set.';

drop policy if exists user_credentials_insert_own on public.user_credentials;
create policy user_credentials_insert_own on public.user_credentials
  as restrictive for insert to public
  with check ((select public.current_user_id()) is null or user_id = (select public.current_user_id()));
comment on policy user_credentials_insert_own on public.user_credentials is
  'Nobody with claims creates in another''s name: the conflict would tell them of rows they can''t see.';

drop policy if exists user_credentials_insert_own_workspace on public.user_credentials;
create policy user_credentials_insert_own_workspace on public.user_credentials
  as restrictive for insert to keyrow_user
  with check (workspace_id is null or workspace_id = any (array(select keyrow.member_workspace_ids())));
comment on policy user_credentials_insert_own_workspace on public.user_credentials is
  'A credential names only a workspace that its creator belongs to.';

drop policy if exists user_credentials_insert_sealed on public.user_credentials;
create policy user_credentials_insert_sealed on public.user_credentials
  as restrictive for insert to keyrow_user
  with check (key_id <> 'legacy');
comment on policy user_credentials_insert_sealed on public.user_credentials is
  'What comes through the API is sealed under a named key. Rows under a legacy key come by migration alone.';

drop policy if exists user_credentials_select_worker on public.user_credentials;
create policy user_credentials_select_worker on public.user_credentials
  for select to keyrow_worker using (true);
comment on policy user_credentials_select_worker on public.user_credentials is
  'Healing and rewrap read every row.';

drop policy if exists user_credentials_update_worker on public.user_credentials;
create policy user_credentials_update_worker on public.user_credentials
  for update to keyrow_worker using (true) with check (true);
comment on policy user_credentials_update_worker on public.user_credentials is
  'Healing and rewrap replace ciphertext and key id of every row; the grants hold them to that.';

-- Of the workspace it has only what it was given: keyrow.limits() adds that to the limits of its token, so the policies
-- below hold it to that, and to reading and revealing.
drop policy if exists user_credentials_select_machine on public.user_credentials;
create policy user_credentials_select_machine on public.user_credentials
  for select to keyrow_user, keyrow_reveal
  using (scope = 'WORKSPACE' and workspace_id = (select keyrow.machine_workspace_id()));
comment on policy user_credentials_select_machine on public.user_credentials is
  'A machine lists and reveals the WORKSPACE credentials of its workspace that it was given.';

-- What a token's limits leave of what its user may do. Who has none pays for the first call, once per statement.
drop policy if exists user_credentials_select_limited on public.user_credentials;
create policy user_credentials_select_limited on public.user_credentials
  as restrictive for select to keyrow_user
  using (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('read')), provider, name, workspace_id));
comment on policy user_credentials_select_limited on public.user_credentials is
  'A limited token lists what its limits let it read, reveal or write.';

drop policy if exists user_credentials_reveal_limited on public.user_credentials;
create policy user_credentials_reveal_limited on public.user_credentials
  as restrictive for select to keyrow_reveal
  using (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('reveal')), provider, name, workspace_id));
comment on policy user_credentials_reveal_limited on public.user_credentials is
  'A limited token reveals what its limits let it reveal.';

drop policy if exists user_credentials_insert_limited on public.user_credentials;
create policy user_credentials_insert_limited on public.user_credentials
  as restrictive for insert to keyrow_user
  with check (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('write')), provider, name, workspace_id));
comment on policy user_credentials_insert_limited on public.user_credentials is
  'A limited token creates what its limits let it write.';

-- The row as it is and the row as it will be: a credential is renamed neither out of a pattern nor into one.
drop policy if exists user_credentials_update_limited on public.user_credentials;
create policy user_credentials_update_limited on public.user_credentials
  as restrictive for update to keyrow_user
  using (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('write')), provider, name, workspace_id))
  with check (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('write')), provider, name, workspace_id));
comment on policy user_credentials_update_limited on public.user_credentials is
  'A limited token changes what its limits let it write, and leaves it within them.';

drop policy if exists user_credentials_delete_limited on public.user_credentials;
create policy user_credentials_delete_limited on public.user_credentials
  as restrictive for delete to keyrow_user
  using (
    (select keyrow.is_unlimited())
    or keyrow.is_within((select keyrow.limit_patterns('write')), provider, name, workspace_id));
comment on policy user_credentials_delete_limited on public.user_credentials is
  'A limited token deletes what its limits let it write.';
--! EndIncluded policies/user_credentials.sql
