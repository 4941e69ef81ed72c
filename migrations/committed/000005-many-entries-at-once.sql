--! Previous: sha1:08c9ccdefc87ea8e1e5056933598b81bd6d7b947
--! Hash: sha1:b1600f117b7835f029a07c8d6cddc8823def0276
--! Message: many entries at once

--! split: 1-current.sql
-- The log takes the entries of a whole reveal in one call: fifty, one by one, took longer than all the rest of it.
--! Included functions/log_credential_events.sql
-- The one place that writes to the activity log, and so the seam for an application whose log looks different: made only
-- where it is missing, so that no later migration takes an application's own away.
-- It runs as keyrow_reveal, inside the reveal functions and the log's triggers; nobody else may call it.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

do $seam$
begin
  if to_regprocedure('keyrow.log_credential_events(public."ActivityAction", uuid[], uuid[], jsonb[])') is null then
    create function keyrow.log_credential_events(
      action public."ActivityAction", credential_ids uuid[], workspace_ids uuid[], details jsonb[]
    ) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $function$
    declare
      written bigint;
    begin
      insert into public.activity_logs (user_id, workspace_id, action, entity_type, entity_id, details)
      select
        (select public.current_user_id()), entry.workspace_id, log_credential_events.action, 'CREDENTIAL', entry.credential_id,
        entry.details || (select jsonb_strip_nulls(
          jsonb_build_object('request', nullif(left(current_setting('keyrow.request_id', true), 64), ''))))
      from unnest(credential_ids, workspace_ids, log_credential_events.details)
        as entry (credential_id, workspace_id, details);
      -- A trigger or rule can swallow a row without an error; what is not on the record must not go on.
      get diagnostics written = row_count;
      if written <> cardinality(credential_ids) then
        raise exception 'the activity log took fewer entries than it was given' using errcode = 'internal_error';
      end if;
      return true;
    end
    $function$;
    comment on function keyrow.log_credential_events(public."ActivityAction", uuid[], uuid[], jsonb[]) is
      'Writes an entry about each of the given credentials to the activity log, in their order; true, or it raises.';
  end if;
end
$seam$;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/log_credential_events.sql
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
-- Whatever the ids, the way to them is the same index: planning anew would take as long as the rest.
set plan_cache_mode = force_generic_plan
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
        keyrow.log_credential_events(
          'CREDENTIAL_ACCESSED', array_agg(a.id), array_agg(case when a.scope = 'WORKSPACE' then a.workspace_id end),
          array_agg(jsonb_build_object('provider', a.provider, 'name', a.name, 'scope', a.scope))) as done
      from asked a
      where a.refusal is null
      having count(*) > 0
    ),
    answered as (
      select a.*, a.refusal is null and coalesce((select r.done from recorded r), false) as recorded
      from asked a
    )
    select
      a.id, a.refusal, a.recorded, case when a.recorded then a.encrypted_value end,
      case when a.recorded then a.key_id end, a.scope, a.user_id, a.workspace_id
    from answered a;
end
$function$;
comment on function keyrow.reveal_user_credentials(uuid[]) is
  'The ciphertexts of those of the given credentials that the policies let the asking user reveal, each on the record. A revoked or expired one comes with its refusal instead, one that may not be revealed not at all.';
grant execute on function keyrow.reveal_user_credentials(uuid[]) to keyrow_user;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_user_credentials.sql
--! Included functions/reveal_system_credentials.sql
-- The one way to a SYSTEM ciphertext: for DB admins, who have no claims and a login of their own on the record. What it
-- asks first, the policy user_credentials_select_system_reveal asks again of each row.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.reveal_system_credentials(ids uuid[])
returns table (
  id uuid, refusal text, recorded boolean, encrypted_value text, key_id text,
  scope public."CredentialScope", user_id uuid, workspace_id uuid
)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
  if public.current_user_id() is not null then
    raise exception 'claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  -- Of the login, not of the role that it has taken: nobody but a superuser can change that.
  if not pg_has_role(session_user, 'keyrow_admin', 'MEMBER') then
    raise exception 'this login is no DB admin''s' using errcode = 'insufficient_privilege';
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
      where c.id = any (ids) and c.scope = 'SYSTEM'
    ),
    recorded as materialized (
      select
        keyrow.log_credential_events(
          'CREDENTIAL_ACCESSED', array_agg(a.id), array_agg(null::uuid),
          array_agg(jsonb_build_object('provider', a.provider, 'name', a.name, 'scope', a.scope))) as done
      from asked a
      where a.refusal is null
      having count(*) > 0
    ),
    answered as (
      select a.*, a.refusal is null and coalesce((select r.done from recorded r), false) as recorded
      from asked a
    )
    select
      a.id, a.refusal, a.recorded, case when a.recorded then a.encrypted_value end,
      case when a.recorded then a.key_id end, a.scope, a.user_id, a.workspace_id
    from answered a;
end
$function$;
comment on function keyrow.reveal_system_credentials(uuid[]) is
  'The ciphertexts of the given SYSTEM credentials, each on the record; for a login that may become keyrow_admin, without claims. A revoked or expired one comes with its refusal instead.';
grant execute on function keyrow.reveal_system_credentials(uuid[]) to keyrow_admin;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_system_credentials.sql
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
  perform keyrow.log_credential_events(
    tg_argv[0]::public."ActivityAction", array[credential.id],
    array[case when credential.scope = 'WORKSPACE' then credential.workspace_id end], array[details]);
  return null;
end
$function$;
comment on function keyrow.user_credentials_log() is
  'Trigger: writes the action given as its argument to the activity log.';
grant execute on function keyrow.user_credentials_log() to keyrow_owner;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/user_credentials_log.sql

-- What wrote one entry goes where it is Keyrow's own; an application's own goes on writing, entry by entry.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;
do $former$
declare
  former constant regprocedure := to_regprocedure('keyrow.log_credential_event(public."ActivityAction", uuid, uuid, jsonb)');
begin
  if former is null then
    return;
  end if;
  if (select md5(regexp_replace(btrim(p.prosrc, E' \n'), '\s+', ' ', 'g')) from pg_catalog.pg_proc p where p.oid = former)
     = '954f28bcf4a1b79bd083db8bbf60f5c7' then
    drop function keyrow.log_credential_event(public."ActivityAction", uuid, uuid, jsonb);
  else
    create or replace function keyrow.log_credential_events(
      action public."ActivityAction", credential_ids uuid[], workspace_ids uuid[], details jsonb[]
    ) returns boolean
    language sql volatile set search_path = pg_catalog, pg_temp
    as $function$
      select coalesce(bool_and(coalesce(
        keyrow.log_credential_event($1, entry.credential_id, entry.workspace_id, entry.details), false)), false)
      from unnest($2, $3, $4) as entry (credential_id, workspace_id, details)
    $function$;
  end if;
end
$former$;
set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
