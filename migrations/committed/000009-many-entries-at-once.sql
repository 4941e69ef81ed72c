--! Previous: sha1:d4044840d2c85fafdd51b93ee53a76491099dd34
--! Hash: sha1:145869620e67600ad719ce6b01f76d52544c3b7b
--! Message: many entries at once

--! split: 1-current.sql
-- The log takes the entries of a whole reveal in one call: fifty, one by one, took longer than all the rest of it. And what
-- the answer has no room for is refused before it is on the record.
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

-- What it was before it could say how much there is room for. Beside the other it would make every call of one argument
-- ambiguous.
drop function if exists keyrow.reveal_user_credentials(uuid[]);

create or replace function keyrow.reveal_user_credentials(ids uuid[], most_bytes bigint default null)
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
        end as stopped
      from public.user_credentials c
      where c.id = any (ids)
    ),
    -- What an answer has no room for is refused before it is on the record. Its length is known without reading it.
    fitting as materialized (
      select
        a.*,
        case
          when a.stopped is not null then a.stopped
          when sum(octet_length(a.encrypted_value)) filter (where a.stopped is null) over () > most_bytes
            then 'LIMIT_EXCEEDED'
        end as refusal
      from asked a
    ),
    recorded as materialized (
      select
        keyrow.log_credential_events(
          'CREDENTIAL_ACCESSED', array_agg(f.id), array_agg(case when f.scope = 'WORKSPACE' then f.workspace_id end),
          array_agg(jsonb_build_object('provider', f.provider, 'name', f.name, 'scope', f.scope))) as done
      from fitting f
      where f.refusal is null
      having count(*) > 0
    ),
    answered as (
      select f.*, f.refusal is null and coalesce((select r.done from recorded r), false) as recorded
      from fitting f
    )
    select
      a.id, a.refusal, a.recorded, case when a.recorded then a.encrypted_value end,
      case when a.recorded then a.key_id end, a.scope, a.user_id, a.workspace_id
    from answered a;
end
$function$;
comment on function keyrow.reveal_user_credentials(uuid[], bigint) is
  'The ciphertexts of those of the given credentials that the policies let the asking user reveal, each on the record. A revoked or expired one comes with its refusal instead, and so do all of them where their ciphertexts together have more bytes than may be; one that may not be revealed comes not at all.';
grant execute on function keyrow.reveal_user_credentials(uuid[], bigint) to keyrow_user;

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
--! Included functions/tokens.sql
-- The life of tokens that Keyrow makes. keyrow_reveal alone reads and writes their table, for the asking user alone; a
-- token with limits sees and revokes itself and what was made with it.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.token_limits(id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $function$
  with recursive line as (
    select t.parent_id, t.limits, t.revoked_at, t.expires_at from keyrow.tokens t where t.id = token_limits.id
    union all
    select t.parent_id, t.limits, t.revoked_at, t.expires_at
    from keyrow.tokens t join line on t.id = line.parent_id
  )
  -- Up to one that has no parent: a line that breaks off is none.
  select jsonb_agg(one) filter (where one is not null)
  from line cross join lateral jsonb_array_elements(line.limits) one
  having bool_or(line.parent_id is null) and bool_and(line.revoked_at is null and line.expires_at > now())
$function$;
comment on function keyrow.token_limits(uuid) is
  'The limits of a token that Keyrow made and of all its ancestors; null where one of them was revoked or has ended, or it is not the asking user''s.';
grant execute on function keyrow.token_limits(uuid) to keyrow_user;

create or replace function keyrow.visible_tokens() returns setof keyrow.tokens
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  -- Raises where the asking token was revoked.
  asking_limits constant jsonb := keyrow.limits();
begin
  if public.current_user_id() is null then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  return query
    with recursive visible as (
      select t.* from keyrow.tokens t
      where asking_limits is null
        or t.id in (select (one ->> 'token')::uuid from jsonb_array_elements(keyrow.said_limits()) one)
      union
      select t.* from keyrow.tokens t join visible on t.parent_id = visible.id
    )
    select * from visible order by created_at desc, id desc;
end
$function$;
comment on function keyrow.visible_tokens() is
  'The tokens that Keyrow made for the asking user, the latest first; to a limited token itself and those made with it.';
grant execute on function keyrow.visible_tokens() to keyrow_user;

create or replace function keyrow.create_token(name text, limits jsonb, expires_at timestamptz)
returns setof keyrow.tokens
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  asking constant uuid := public.current_user_id();
  -- Raises where the asking token was revoked.
  all_limits constant jsonb := keyrow.limits();
  said constant jsonb := coalesce(keyrow.said_limits(), '[]');
  parents constant uuid[] := array(
    select (one ->> 'token')::uuid from jsonb_array_elements(said) one where one ? 'token');
  -- As keyrow.limits: the server's own setting, or PostgREST's claims.
  asking_ends constant timestamptz := to_timestamp(coalesce(
    nullif(current_setting('keyrow.expires_at', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'exp')::double precision);
  made keyrow.tokens;
begin
  if asking is null then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  if not keyrow.is_limit(create_token.limits) or create_token.limits ? 'token' then
    raise exception 'the limits of the token can''t be understood' using errcode = 'invalid_parameter_value';
  end if;
  if cardinality(parents) > 1 or jsonb_array_length(coalesce(all_limits, '[]')) > 8 then
    raise exception 'tokens are made of tokens no further'
      using errcode = 'program_limit_exceeded', constraint = 'tokens_line';
  end if;
  -- One after the other, so that two at once don't both find room for the last.
  perform pg_advisory_xact_lock(hashtextextended('keyrow.tokens ' || asking, 0));
  if (select count(*) from keyrow.tokens t
      where t.user_id = asking and t.expires_at > now() and t.revoked_at is null) >= 100
  then
    raise exception 'a user has 100 tokens at once'
      using errcode = 'program_limit_exceeded', constraint = 'tokens_live';
  end if;
  insert into keyrow.tokens (id, user_id, parent_id, name, limits, expires_at)
  values (
    public.uuid_generate_v4(), asking, parents[1], create_token.name,
    -- What an issuer's token says of itself stands in no row: its child says it for it.
    jsonb_build_array(create_token.limits) || coalesce(
      (select jsonb_agg(one - 'token') from jsonb_array_elements(said) one where one - 'token' <> '{}'), '[]'),
    least(create_token.expires_at, asking_ends, (select t.expires_at from keyrow.tokens t where t.id = parents[1])))
  returning * into made;
  perform keyrow.log_credential_events(
    'CREDENTIAL_CREATED', array[made.id], array[null::uuid],
    array[jsonb_build_object('token', true, 'name', made.name, 'parent', made.parent_id, 'expires', made.expires_at)]);
  return next made;
end
$function$;
comment on function keyrow.create_token(text, jsonb, timestamptz) is
  'Records a token that Keyrow makes, never wider nor longer than the asking one, and puts it on the record. The limits of an issuer''s token become its own, a token that Keyrow made its parent.';
grant execute on function keyrow.create_token(text, jsonb, timestamptz) to keyrow_user;

-- A token may revoke itself, and reads nothing afterwards: what is known of it comes back at once.
create or replace function keyrow.revoke_token(id uuid) returns setof keyrow.tokens
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  it keyrow.tokens;
begin
  select t.* into it from keyrow.tokens t
  where t.id = (select v.id from keyrow.visible_tokens() v where v.id = revoke_token.id)
  for update;
  if not found then
    return;
  end if;
  -- Revoking twice is done as well, and on the record once.
  if it.revoked_at is null then
    update keyrow.tokens t set revoked_at = now() where t.id = it.id returning t.* into it;
    perform keyrow.log_credential_events(
      'CREDENTIAL_REVOKED', array[it.id], array[null::uuid],
      array[jsonb_build_object('token', true, 'name', it.name)]);
  end if;
  return next it;
end
$function$;
comment on function keyrow.revoke_token(uuid) is
  'Revokes a token that the asking one sees, and with it all that were made with it; gives it, or nothing where there is no such token.';
grant execute on function keyrow.revoke_token(uuid) to keyrow_user;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/tokens.sql

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
