--! Previous: sha1:7e4a32e1af7426bded53ab076ed7455e59ff057a
--! Hash: sha1:86b9dd44e450d77db8192a98e1f3869e6749a7bc
--! Message: user credentials

--! split: 1-current.sql
-- The credentials: the specification's table to the letter, with the additions of its second half.
create table if not exists public.user_credentials (
  id uuid not null default public.uuid_generate_v4(),
  user_id uuid not null,
  workspace_id uuid,

  name varchar(255) not null,
  provider varchar(100) not null,
  type public."CredentialType" not null,
  scope public."CredentialScope" not null default 'USER',

  encrypted_value text not null,
  masked_value varchar(20),

  description text,
  expires_at timestamptz,
  last_used_at timestamptz,
  metadata jsonb not null default '{}',

  is_active boolean not null default true,
  rotated_at timestamptz,

  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),

  -- Last, so that the specification's own inserts, which don't name it, load.
  key_id text not null default 'legacy',

  constraint user_credentials_pkey primary key (id),
  constraint user_credentials_user_id_fkey foreign key (user_id)
    references public.users (id) on delete cascade on update cascade,
  constraint user_credentials_workspace_id_fkey foreign key (workspace_id)
    references public.workspaces (id) on delete cascade on update cascade,

  constraint user_credentials_workspace_scope check (scope <> 'WORKSPACE' or workspace_id is not null),
  -- Each key id has its form, and plaintext has none of them. Only a legacy row may have hexadecimal fields or a long iv.
  constraint user_credentials_encrypted_value_form check (
    case
      when key_id ~ '^local:[0-9]{8}-[0-9a-f]{8}$' then
        encrypted_value ~ '^[A-Za-z0-9+/]{16}:[A-Za-z0-9+/]{22}==:([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
      when key_id ~ '^transit:[A-Za-z0-9_./:-]{1,200}$' then
        encrypted_value ~ '^vault:v[1-9][0-9]*:([A-Za-z0-9+/]{4}){9,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
      when key_id = 'legacy' then
        encrypted_value ~ '^vault:v[1-9][0-9]*:[A-Za-z0-9+/]+={0,2}$'
        or encrypted_value ~ '^([0-9a-fA-F]{24}|[0-9a-fA-F]{32}|[A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{22}==):([0-9a-fA-F]{32}|[A-Za-z0-9+/]{22}==):[A-Za-z0-9+/]*={0,2}$'
      else false
    end)
);

create index if not exists user_credentials_user_id_idx on public.user_credentials (user_id);
create index if not exists user_credentials_workspace_id_idx on public.user_credentials (workspace_id);
create index if not exists user_credentials_user_id_scope_idx on public.user_credentials (user_id, scope);
create index if not exists user_credentials_workspace_id_scope_idx on public.user_credentials (workspace_id, scope);
create index if not exists user_credentials_scope_is_active_idx on public.user_credentials (scope, is_active);
-- Nulls are not distinct: else two USER credentials of one provider and name both pass.
create unique index if not exists user_credentials_user_id_workspace_id_provider_name_key
  on public.user_credentials (user_id, workspace_id, provider, name) nulls not distinct;

-- A script could not tell two `github/deploy` of one workspace apart, whoever made them.
create unique index if not exists user_credentials_workspace_id_provider_name_key
  on public.user_credentials (workspace_id, provider, name) where scope = 'WORKSPACE';
-- The order of lists: under row level security an order by primary key reads the table for who sees little.
create index if not exists user_credentials_user_id_created_at_idx
  on public.user_credentials (user_id, created_at desc, id desc);
create index if not exists user_credentials_workspace_id_created_at_idx
  on public.user_credentials (workspace_id, created_at desc, id desc);
-- For the census of keys, at start and in `group by key_id`.
create index if not exists user_credentials_key_id_idx on public.user_credentials (key_id);

comment on table public.user_credentials is
  'A credential: an API key, token, password or other secret of a user, a workspace or the system. Its value is sealed outside the database.';
comment on column public.user_credentials.id is E'@behavior -attribute:insert\nThe credential''s id, made by the server.';
comment on column public.user_credentials.user_id is E'@behavior -attribute:insert\nWho made it, and under USER scope whose it is.';
comment on column public.user_credentials.workspace_id is 'The workspace: whose it is under WORKSPACE scope, a mere note otherwise.';
comment on column public.user_credentials.name is 'What it is called, unique with its provider: "deploy" in github/deploy.';
comment on column public.user_credentials.provider is 'Whom it is good for: "github" in github/deploy.';
comment on column public.user_credentials.type is 'What kind of secret it is.';
comment on column public.user_credentials.scope is 'Whom it belongs to.';
-- The tag makes the GraphQL field `value` of it; plugins/README.md has the words.
comment on column public.user_credentials.encrypted_value is
  E'@encrypted value mask:masked_value key:key_id context:scope(USER=user_id,WORKSPACE=workspace_id,SYSTEM) insert:scope=USER,user_id=$jwt.claims.user_id reveal:keyrow.reveal_user_credentials\nThe sealed value: iv:authTag:encrypted or vault:vN:data. Bound to this row, and selectable by the reveal function and the worker alone.';
comment on column public.user_credentials.masked_value is 'What may be shown of the value: at most a known prefix and the last four characters.';
comment on column public.user_credentials.description is 'What it is for.';
comment on column public.user_credentials.expires_at is 'When it ends. After that its value is not revealed.';
comment on column public.user_credentials.last_used_at is 'When its value was last revealed, to the minute.';
comment on column public.user_credentials.metadata is E'@behavior +attribute:filterBy\nAnything else to keep with it, not encrypted.';
comment on column public.user_credentials.is_active is E'@behavior -attribute:update\nFalse once it is revoked. A new value makes it active again.';
comment on column public.user_credentials.rotated_at is 'When it was last given a new value.';
comment on column public.user_credentials.created_at is 'When it was made.';
comment on column public.user_credentials.updated_at is 'When it was last changed by somebody.';
comment on column public.user_credentials.key_id is 'The key that sealed the value.';

create table if not exists keyrow.user_probe (
  user_id uuid not null references public.users (id)
);
comment on table keyrow.user_probe is 'Always empty. A row tried here tells a trigger whether a user is being deleted.';
comment on column keyrow.user_probe.user_id is 'The user asked about.';

--! Included functions/admin_workspace_ids.sql
-- The seam an adopter may make faster, so it is made only where it is missing: the specification's own words, asked of
-- every workspace. A test holds it equal to is_workspace_admin(workspace_id, current_user_id()).
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;
do $seam$
begin
  if to_regprocedure('keyrow.admin_workspace_ids()') is null then
    create function keyrow.admin_workspace_ids() returns setof uuid
    language plpgsql stable rows 10 security definer set search_path = pg_catalog, pg_temp
    as $function$
    begin
      if public.current_user_id() is null then
        raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
      end if;
      return query
        select w.id from public.workspaces w where public.is_workspace_admin(w.id, public.current_user_id());
    end
    $function$;
    comment on function keyrow.admin_workspace_ids() is
      'The workspaces of which the asking user is owner or admin: is_workspace_admin, for all workspaces at once.';
    grant execute on function keyrow.admin_workspace_ids() to keyrow_owner, keyrow_user;
  end if;
end
$seam$;
set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/admin_workspace_ids.sql
--! Included functions/member_workspace_ids.sql
-- A seam like admin_workspace_ids: made only where it is missing.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;
do $seam$
begin
  if to_regprocedure('keyrow.member_workspace_ids()') is null then
    create function keyrow.member_workspace_ids() returns setof uuid
    language plpgsql stable rows 10 security definer set search_path = pg_catalog, pg_temp
    as $function$
    begin
      if public.current_user_id() is null then
        raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
      end if;
      return query
        select m.workspace_id from public.workspace_members m where m.user_id = public.current_user_id();
    end
    $function$;
    comment on function keyrow.member_workspace_ids() is 'The workspaces that the asking user belongs to, in any role.';
    grant execute on function keyrow.member_workspace_ids() to keyrow_owner, keyrow_user;
  end if;
end
$seam$;
set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/member_workspace_ids.sql
--! Included functions/log_credential_event.sql
-- The one place that writes to the activity log, and so the seam for an application whose log looks different.
-- It runs as keyrow_reveal, inside the reveal function and the log's triggers; nobody else may call it.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.log_credential_event(
  action public."ActivityAction", credential_id uuid, workspace_id uuid, details jsonb
) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  written bigint;
begin
  insert into public.activity_logs (user_id, workspace_id, action, entity_type, entity_id, details)
  values (
    public.current_user_id(), workspace_id, action, 'CREDENTIAL', credential_id,
    details || jsonb_strip_nulls(
      jsonb_build_object('request', nullif(left(current_setting('keyrow.request_id', true), 64), ''))));
  -- A trigger or rule can swallow a row without an error; what is not on the record must not go on.
  get diagnostics written = row_count;
  if written <> 1 then
    raise exception 'the activity log took no entry' using errcode = 'internal_error';
  end if;
  return true;
end
$function$;
comment on function keyrow.log_credential_event(public."ActivityAction", uuid, uuid, jsonb) is
  'Writes one entry about a credential to the activity log; true, or it raises.';

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/log_credential_event.sql
--! Included functions/user_credentials_log.sql
-- Changes are on the record wherever they come from: the API, psql, a cascade.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.user_credentials_log() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  credential public.user_credentials := case when tg_op = 'DELETE' then old else new end;
  details jsonb := jsonb_build_object(
    'provider', credential.provider, 'name', credential.name, 'scope', credential.scope);
begin
  if tg_op = 'DELETE' then
    details := details || '{"deleted": true}';
  end if;
  perform keyrow.log_credential_event(
    tg_argv[0]::public."ActivityAction", credential.id,
    case when credential.scope = 'WORKSPACE' then credential.workspace_id end, details);
  return null;
end
$function$;
comment on function keyrow.user_credentials_log() is
  'Trigger: writes the action given as its argument to the activity log.';
grant execute on function keyrow.user_credentials_log() to keyrow_owner;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/user_credentials_log.sql
--! Included functions/user_credentials_guard.sql
-- What must hold for a credential's life, whoever changes it.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.user_credentials_guard() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  new_value boolean;
begin
  -- What is not sealed is listed with every row: it must not grow into a store of its own.
  if current_user = 'keyrow_user'
    and (octet_length(new.metadata::text) > 16384 or octet_length(new.description) > 16384)
  then
    raise exception 'metadata and description may have 16384 bytes each'
      using errcode = 'program_limit_exceeded', constraint = 'user_credentials_unsealed_size';
  end if;
  if current_user = 'keyrow_user' and '' in (new.provider, new.name) then
    raise exception 'provider and name can''t be empty'
      using errcode = 'check_violation', constraint = 'user_credentials_named';
  end if;
  -- An endless date reads as none, and no cursor gets past it.
  if not isfinite(new.expires_at) then
    raise exception 'an expiry is a date' using errcode = 'datetime_field_overflow';
  end if;

  if tg_op = 'INSERT' then
    -- The API has no input for the owner: it is the asking user.
    new.user_id := coalesce(new.user_id, public.current_user_id());
    return new;
  end if;

  new_value := new.encrypted_value is distinct from old.encrypted_value;

  if old.scope = 'USER' and new.user_id is distinct from old.user_id then
    raise exception 'the owner of a USER credential can''t change: its value is bound to the old id'
      using errcode = 'restrict_violation', constraint = 'user_credentials_owner_fixed';
  end if;
  if not new_value and (
    new.id is distinct from old.id
    or new.scope is distinct from old.scope
    or new.key_id is distinct from old.key_id
    or (new.scope = 'WORKSPACE' and new.workspace_id is distinct from old.workspace_id)
  ) then
    raise exception 'id, key, scope and the scope''s owner can''t change under a value that is bound to them'
      using errcode = 'restrict_violation', constraint = 'user_credentials_binding_fixed';
  end if;

  -- The legacy form is one that plaintext can have. `user_credentials_insert_sealed` says the same of new rows.
  if new_value and new.key_id = 'legacy' and current_user = 'keyrow_user' then
    raise exception 'a new value is sealed under a named key'
      using errcode = 'insufficient_privilege', constraint = 'user_credentials_renewed_sealed';
  end if;

  if new_value and old.is_active and not new.is_active then
    raise exception 'a new value and a revocation exclude each other'
      using errcode = 'check_violation', constraint = 'user_credentials_revoke_or_renew';
  end if;
  if not new_value and new.is_active and not old.is_active then
    raise exception 'a revoked credential becomes active by a new value alone'
      using errcode = 'check_violation', constraint = 'user_credentials_revoked_stays';
  end if;

  if new_value then
    new.is_active := true;
    new.rotated_at := now();
    -- A date that has passed belonged to the old value.
    if new.expires_at is not distinct from old.expires_at and new.expires_at <= now() then
      new.expires_at := null;
    end if;
  end if;
  return new;
end
$function$;
comment on function keyrow.user_credentials_guard() is
  'Trigger: fills in the owner, limits what is not sealed, keeps a value''s bindings, and lets a revoked credential live again by a new value alone.';
--! EndIncluded functions/user_credentials_guard.sql
--! Included functions/user_credentials_refuse_orphaning.sql
-- Deleting a user would take the team's and the system's credentials along (the specification's cascade). The trigger
-- sees the cascade, and asks a foreign key whether it is the user who goes: referential integrity looks into users
-- as its owner, whatever row level security the application has there.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.user_credentials_refuse_orphaning() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
begin
  insert into keyrow.user_probe (user_id) values (old.user_id);
  delete from keyrow.user_probe where user_id = old.user_id;
  return old;
exception
  when foreign_key_violation then
    raise exception 'the user still carries WORKSPACE or SYSTEM credentials'
      using errcode = 'restrict_violation', constraint = 'user_credentials_handover_first',
        hint = 'hand them over first: keyrow handover --from <user> --to <user>';
end
$function$;
comment on function keyrow.user_credentials_refuse_orphaning() is
  'Trigger: refuses to delete a user whose id WORKSPACE or SYSTEM credentials carry.';
--! EndIncluded functions/user_credentials_refuse_orphaning.sql
--! Included functions/update_user_credentials_updated_at.sql
-- The specification's own function, to the letter.
alter default privileges revoke execute on functions from public;

create or replace function public.update_user_credentials_updated_at() returns trigger as $$
begin
  new.updated_at = now();
  return new;
end;
$$ language plpgsql;
alter function public.update_user_credentials_updated_at() set search_path = pg_catalog, pg_temp;
comment on function public.update_user_credentials_updated_at() is 'Trigger: sets updated_at to the transaction''s time.';

create or replace function keyrow.user_credentials_updated_at_keep() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
begin
  new.updated_at := old.updated_at;
  return new;
end
$function$;
comment on function keyrow.user_credentials_updated_at_keep() is
  'Trigger: takes updated_at back where the worker resealed or touched a row, which is no change of it.';
--! EndIncluded functions/update_user_credentials_updated_at.sql
--! Included functions/reveal_user_credentials.sql
-- The one way to a ciphertext. Whether a row is found is decided by the policies for keyrow_reveal, with the caller's
-- claims; whoever is found revealing is on the record, in the same transaction, before the ciphertext leaves.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.reveal_user_credentials(ids uuid[])
returns table (
  id uuid, refusal text, recorded boolean, encrypted_value text, key_id text,
  scope public."CredentialScope", user_id uuid, workspace_id uuid
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
  if public.current_user_id() is null then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  if cardinality(ids) > 1000 then
    raise exception 'more than 1000 values at once' using errcode = 'program_limit_exceeded';
  end if;
  return query
    with asked as materialized (
      select
        c.id, c.encrypted_value, c.key_id, c.scope, c.user_id, c.workspace_id, c.provider, c.name,
        case
          when not c.is_active then 'CREDENTIAL_REVOKED'
          when c.expires_at <= now() then 'CREDENTIAL_EXPIRED'
        end as refusal
      from public.user_credentials c
      where c.id = any (ids)
    ),
    recorded as materialized (
      select
        a.*,
        case when a.refusal is null then
          keyrow.log_credential_event(
            'CREDENTIAL_ACCESSED', a.id, case when a.scope = 'WORKSPACE' then a.workspace_id end,
            jsonb_build_object('provider', a.provider, 'name', a.name, 'scope', a.scope))
        end as recorded
      from asked a
    )
    select
      r.id, r.refusal, coalesce(r.recorded, false), case when r.recorded then r.encrypted_value end,
      case when r.recorded then r.key_id end, r.scope, r.user_id, r.workspace_id
    from recorded r;
end
$function$;
comment on function keyrow.reveal_user_credentials(uuid[]) is
  'The ciphertexts of those of the given credentials that the policies let the asking user reveal, each on the record. A revoked or expired one comes with its refusal instead, one that may not be revealed not at all.';
grant execute on function keyrow.reveal_user_credentials(uuid[]) to keyrow_user;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_user_credentials.sql
--! Included functions/key_census.sql
-- What the server may ask about all rows, without seeing any: the worker's, and callable by the login role alone.
grant create on schema keyrow to keyrow_worker;
set local role keyrow_worker;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.key_census() returns table (key_id text, credentials bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $function$
  select c.key_id, count(*) from public.user_credentials c group by c.key_id order by c.key_id
$function$;
comment on function keyrow.key_census() is 'How many credentials each key has sealed.';
grant execute on function keyrow.key_census() to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_worker;
--! EndIncluded functions/key_census.sql
--! Included functions/touch.sql
-- When a value was last used, to the minute and off the request's path; the log has the exact times.
grant create on schema keyrow to keyrow_worker;
set local role keyrow_worker;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.touch(ids uuid[]) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
  update public.user_credentials c
  set last_used_at = date_trunc('minute', now())
  where c.id in (
    select locked.id from public.user_credentials locked
    where locked.id = any (ids)
      and (locked.last_used_at is null or locked.last_used_at < date_trunc('minute', now()))
    -- In one order, and never waiting: a row somebody is changing gets its minute the next time.
    order by locked.id for update skip locked)
$function$;
comment on function keyrow.touch(uuid[]) is 'Sets last_used_at of the given credentials to the current minute.';
grant execute on function keyrow.touch(uuid[]) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_worker;
--! EndIncluded functions/touch.sql

create or replace trigger user_credentials_guard before insert or update on public.user_credentials
  for each row when (current_user <> 'keyrow_worker') execute function keyrow.user_credentials_guard();
create or replace trigger user_credentials_updated_at before update on public.user_credentials
  for each row execute function public.update_user_credentials_updated_at();
-- After the one above: triggers fire in the order of their names.
create or replace trigger user_credentials_updated_at_keep before update on public.user_credentials
  for each row when (current_user = 'keyrow_worker') execute function keyrow.user_credentials_updated_at_keep();
create or replace trigger user_credentials_refuse_orphaning before delete on public.user_credentials
  for each row when (old.scope <> 'USER' and pg_trigger_depth() > 0)
  execute function keyrow.user_credentials_refuse_orphaning();

create or replace trigger user_credentials_log_created after insert on public.user_credentials
  for each row execute function keyrow.user_credentials_log('CREDENTIAL_CREATED');
create or replace trigger user_credentials_log_rotated after update on public.user_credentials
  for each row when (old.encrypted_value is distinct from new.encrypted_value and current_user <> 'keyrow_worker')
  execute function keyrow.user_credentials_log('CREDENTIAL_ROTATED');
create or replace trigger user_credentials_log_revoked after update on public.user_credentials
  for each row when (old.is_active and not new.is_active)
  execute function keyrow.user_credentials_log('CREDENTIAL_REVOKED');
create or replace trigger user_credentials_log_deleted after delete on public.user_credentials
  for each row execute function keyrow.user_credentials_log('CREDENTIAL_REVOKED');

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
  'Maintenance: the table''s owner and DB admins, where no claims are set. The only way to SYSTEM credentials.';

drop policy if exists user_credentials_user_access on public.user_credentials;
create policy user_credentials_user_access on public.user_credentials
  for all to keyrow_user, keyrow_reveal
  using (scope = 'USER' and user_id = (select public.current_user_id()))
  with check (scope = 'USER' and user_id = (select public.current_user_id()));
comment on policy user_credentials_user_access on public.user_credentials is
  'A USER credential belongs to its owner alone, to list, change and reveal.';

drop policy if exists user_credentials_workspace_access on public.user_credentials;
create policy user_credentials_workspace_access on public.user_credentials
  for all to keyrow_user, keyrow_reveal
  using (scope = 'WORKSPACE' and workspace_id = any (array(select keyrow.admin_workspace_ids())))
  with check (scope = 'WORKSPACE' and workspace_id = any (array(select keyrow.admin_workspace_ids())));
comment on policy user_credentials_workspace_access on public.user_credentials is
  'A WORKSPACE credential belongs to the workspace''s owners and admins, to list, change and reveal.';

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
--! EndIncluded policies/user_credentials.sql
--! Included policies/user_probe.sql
-- Who may use the probe: the owner of the credentials, inside its trigger. It is always empty.
alter table keyrow.user_probe enable row level security;
alter table keyrow.user_probe force row level security;
revoke all on keyrow.user_probe from public;

drop policy if exists user_probe_all_owner on keyrow.user_probe;
create policy user_probe_all_owner on keyrow.user_probe
  for all to keyrow_owner using (true) with check (true);
comment on policy user_probe_all_owner on keyrow.user_probe is 'A cascade runs as the owner of the credentials.';
--! EndIncluded policies/user_probe.sql
