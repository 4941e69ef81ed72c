--! Previous: sha1:7f11d1974508867b60499e5422ab93603e9dbfb1
--! Hash: sha1:e9c260c6f00e2327298b232b65d9b009d305fd92
--! Message: what a login may not bend

--! split: 1-current.sql
-- Limits mean the same in every session, whatever it makes of backslashes.
--! Included functions/limits.sql
-- What a token may do, where that is less than its user may. The setting keyrow.limits holds the limits of a request, all
-- of which must hold; docs/tokens.md says what they mean. Restrictive policies ask these functions, once per statement;
-- who has no limits pays for one call. Their bodies are read in the session of whoever asks, so backslashes stand in E'':
-- elsewhere they mean what standard_conforming_strings says.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.is_limit(value jsonb) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $function$
declare
  credentials jsonb := value -> 'credentials';
  actions jsonb := value -> 'actions';
  workspace jsonb := value -> 'workspace';
  token jsonb := value -> 'token';
  uuid constant text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
begin
  -- One after the other: what looks into an object or an array raises where there is none.
  if jsonb_typeof(value) is distinct from 'object' then
    return false;
  end if;
  if value - array['credentials', 'actions', 'workspace', 'token'] <> '{}'
    or jsonb_typeof(credentials) <> 'array'
    or jsonb_typeof(actions) <> 'array'
    or jsonb_typeof(workspace) <> 'string'
    or jsonb_typeof(token) <> 'string'
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
        or pattern #>> '{}' !~ E'^[^/\\u0001-\\u001f\\u007f-\\u009f]{1,100}/[^\\u0001-\\u001f\\u007f-\\u009f]{1,255}$')
    and not exists (
      select from jsonb_array_elements(actions) action where action not in ('"read"', '"reveal"', '"write"'))
    and (workspace is null or workspace #>> '{}' ~* uuid)
    and (token is null or token #>> '{}' ~* uuid);
end
$function$;
comment on function keyrow.is_limit(jsonb) is
  'Whether a limit can be understood: an object of `credentials` (patterns `provider/name`), `actions`, `workspace` and `token`.';
-- keyrow_admin makes machines, whose table asks it.
grant execute on function keyrow.is_limit(jsonb) to keyrow_user, keyrow_reveal, keyrow_admin;

create or replace function keyrow.said_limits() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
declare
  said text := nullif(current_setting('keyrow.limits', true), '');
  claims jsonb;
  limits jsonb;
begin
  if said = 'none' then
    return null;
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
      return null;
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
      return limits;
    end if;
  end if;
  raise exception 'the limits of the token can''t be understood' using errcode = 'invalid_authorization_specification';
end
$function$;
comment on function keyrow.said_limits() is
  'The limits that the asking token says, all of which must hold: keyrow.limits, or where that is unset the claim `keyrow` of request.jwt.claims. Null: none. Raises where they are not set, or can''t be understood.';
grant execute on function keyrow.said_limits() to keyrow_user, keyrow_reveal;

create or replace function keyrow.limits() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
declare
  said constant jsonb := keyrow.said_limits();
  given constant jsonb := '[]' || keyrow.machine_limit();
  one jsonb;
  limits jsonb := said;
begin
  -- A token that Keyrow made says its id alone: what it may do, and whether it still is one, the table says.
  for one in select * from jsonb_array_elements(said) where value ? 'token' loop
    limits := limits || keyrow.token_limits((one ->> 'token')::uuid);
    if limits is null then
      raise exception 'the token was revoked, has ended or is not known'
        using errcode = 'invalid_authorization_specification';
    end if;
  end loop;
  -- A machine has what it was given and no more, whatever its token says.
  return coalesce(limits || given, limits, given);
end
$function$;
comment on function keyrow.limits() is
  'The limits of the asking token, all of which must hold: those that it says, those of a token that Keyrow made and of its ancestors, and what a machine was given. Null: it has none. Raises where they can''t be known, or such a token is no more.';
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

-- Provider, name and workspace are compared as one text, with a separator between them that no part can hold: a pattern
-- has as many of them as the text, so no star reaches from one part into the next. LIKE, and no regular expression: what a
-- pattern costs grows with its length alone, however many stars it has.
create or replace function keyrow.limit_patterns(action text) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $function$
begin
  return (
    with said as (
      select array(
        select overlay(escaped placing chr(1) from position('/' in escaped) for 1)
          || chr(1) || coalesce(lower(one ->> 'workspace'), '%')
        from jsonb_array_elements_text(coalesce(one -> 'credentials', '["*/*"]')) pattern,
          regexp_replace(regexp_replace(pattern, E'[\\\\%_]', E'\\\\\\&', 'g'), E'\\*+', '%', 'g') escaped
        where (one -> 'actions' ?| case action when 'read' then array['read', 'reveal', 'write'] else array[action] end)
          is not false
      ) as patterns
      from jsonb_array_elements(keyrow.limits()) one)
    -- An array is as wide in each row. What is compared is never empty.
    select coalesce(array_agg(patterns || array_fill(''::text, array[widest - cardinality(patterns)])), '{}')
    from said, (select greatest(1, max(cardinality(patterns))) from said) most (widest));
end
$function$;
comment on function keyrow.limit_patterns(text) is
  'What a credential has to match for an action of the asking token (`read`, `reveal` or `write`): a row of patterns of LIKE for each limit, one of which has to match.';
grant execute on function keyrow.limit_patterns(text) to keyrow_user, keyrow_reveal;

create or replace function keyrow.is_within(patterns text[], provider text, name text, workspace_id uuid) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $function$
declare
  credential constant text collate "C" := translate(provider, chr(1), chr(2)) || chr(1)
    || translate(name, chr(1), chr(2)) || chr(1) || coalesce(workspace_id::text, '');
  any_of text[];
begin
  foreach any_of slice 1 in array patterns loop
    if not credential like any (any_of) then
      return false;
    end if;
  end loop;
  return true;
end
$function$;
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

-- A person's token makes nobody a machine.
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
