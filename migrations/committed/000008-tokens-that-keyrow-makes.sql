--! Previous: sha1:ba6036522e344e69a9c4a5a295fa90b95d3809e5
--! Hash: sha1:d4044840d2c85fafdd51b93ee53a76491099dd34
--! Message: tokens that Keyrow makes

--! split: 1-current.sql
-- Tokens that Keyrow makes: what they may do, and whether they still are any. Never the token itself.
create table if not exists keyrow.tokens (
  id uuid primary key,
  user_id uuid not null references public.users (id) on delete cascade on update cascade,
  parent_id uuid references keyrow.tokens (id) on delete cascade,
  name text not null,
  limits jsonb not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  constraint tokens_name check (name <> '' and char_length(name) <= 100),
  constraint tokens_limits check (jsonb_typeof(limits) = 'array' and limits <> '[]'),
  constraint tokens_expiry check (expires_at > created_at and expires_at <= created_at + interval '366 days')
);
create index if not exists tokens_user_id_expires_at_idx on keyrow.tokens (user_id, expires_at);
create index if not exists tokens_parent_id_idx on keyrow.tokens (parent_id);
comment on table keyrow.tokens is 'The tokens that Keyrow made, without the tokens themselves.';
comment on column keyrow.tokens.id is 'What the token says of itself: its jti, and its claim `keyrow`.';
comment on column keyrow.tokens.user_id is 'Whose token it is.';
comment on column keyrow.tokens.parent_id is 'The token that it was made with, where Keyrow had made that one.';
comment on column keyrow.tokens.name is 'What it is for.';
comment on column keyrow.tokens.limits is 'What it may do, all of it together; its ancestors'' limits hold as well.';
comment on column keyrow.tokens.expires_at is 'When it ends.';
comment on column keyrow.tokens.created_at is 'When it was made.';
comment on column keyrow.tokens.revoked_at is 'When it was revoked, and with it all that were made with it.';

--! Included policies/tokens.sql
-- Who may do what to the record of tokens. The API comes to it through functions of keyrow_reveal alone.
alter table keyrow.tokens enable row level security;
alter table keyrow.tokens force row level security;
revoke all on keyrow.tokens from public;
grant select, insert (id, user_id, parent_id, name, limits, expires_at), update (revoked_at) on keyrow.tokens to keyrow_reveal;
grant select, update (revoked_at), delete on keyrow.tokens to keyrow_admin;

drop policy if exists tokens_all_maintenance on keyrow.tokens;
create policy tokens_all_maintenance on keyrow.tokens
  for all to keyrow_owner, keyrow_admin using (true) with check (true);
comment on policy tokens_all_maintenance on keyrow.tokens is 'The table''s owner and DB admins list, revoke and clear away tokens.';

drop policy if exists tokens_select_own on keyrow.tokens;
create policy tokens_select_own on keyrow.tokens
  for select to keyrow_reveal using (user_id = (select public.current_user_id()));
comment on policy tokens_select_own on keyrow.tokens is 'The functions read the asking user''s tokens alone.';

drop policy if exists tokens_insert_own on keyrow.tokens;
create policy tokens_insert_own on keyrow.tokens
  for insert to keyrow_reveal with check (user_id = (select public.current_user_id()));
comment on policy tokens_insert_own on keyrow.tokens is 'A token is made for the asking user alone.';

drop policy if exists tokens_update_own on keyrow.tokens;
create policy tokens_update_own on keyrow.tokens
  for update to keyrow_reveal
  using (user_id = (select public.current_user_id())) with check (user_id = (select public.current_user_id()));
comment on policy tokens_update_own on keyrow.tokens is 'The asking user''s tokens alone are revoked.';
--! EndIncluded policies/tokens.sql
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
  perform keyrow.log_credential_event(
    'CREDENTIAL_CREATED', made.id, null,
    jsonb_build_object('token', true, 'name', made.name, 'parent', made.parent_id, 'expires', made.expires_at));
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
    perform keyrow.log_credential_event(
      'CREDENTIAL_REVOKED', it.id, null, jsonb_build_object('token', true, 'name', it.name));
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
--! Included functions/tokens_stay_revoked.sql
-- What was revoked stays so, whoever changes it.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.tokens_stay_revoked() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $function$
begin
  raise exception 'a revoked token stays revoked' using errcode = 'restrict_violation', constraint = 'tokens_stay_revoked';
end
$function$;
comment on function keyrow.tokens_stay_revoked() is 'Trigger: refuses to take a revocation back.';
grant execute on function keyrow.tokens_stay_revoked() to keyrow_owner;
--! EndIncluded functions/tokens_stay_revoked.sql

create or replace trigger tokens_stay_revoked before update on keyrow.tokens
  for each row when (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at)
  execute function keyrow.tokens_stay_revoked();

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
        or pattern #>> '{}' !~ '^[^/\u0001-\u001f\u007f-\u009f]{1,100}/[^\u0001-\u001f\u007f-\u009f]{1,255}$')
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
