--! Previous: sha1:e21f6f8d8a2b6be0b6d4adc00d7fc5d2a58ed449
--! Hash: sha1:e4f85be3c2a23a023ede065bf84fef2387302767
--! Message: tokens that stay in sight

--! split: 1-current.sql
-- Tokens that are good stay in sight, and can be revoked, however many were: a list begins with them, and has room for all.
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

-- Those that are good first, and few enough for an answer to have room for their limits: whoever has stolen a token must
-- not put it out of sight by making and revoking others.
create or replace function keyrow.visible_tokens() returns setof keyrow.tokens
language plpgsql stable rows 200 security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  -- Raises where the asking token was revoked.
  asking_limits constant jsonb := keyrow.limits();
begin
  if public.current_user_id() is null then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  if asking_limits is null then
    return query
      select t.* from keyrow.tokens t where t.expires_at > now()
      order by t.revoked_at is null desc, t.created_at desc, t.id desc limit 200;
    return;
  end if;
  return query
    with recursive visible as (
      select t.* from keyrow.tokens t
      where t.id in (select (one ->> 'token')::uuid from jsonb_array_elements(keyrow.said_limits()) one)
      union
      select t.* from keyrow.tokens t join visible on t.parent_id = visible.id
    )
    select v.* from visible v where v.expires_at > now()
    order by v.revoked_at is null desc, v.created_at desc, v.id desc limit 200;
end
$function$;
comment on function keyrow.visible_tokens() is
  'The tokens that Keyrow made for the asking user and that have not ended, to a limited token itself and those made with it: 200 at most, first those that were not revoked, of each kind the latest.';
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
  -- A list shows the limits of a hundred.
  if octet_length((coalesce(all_limits, '[]') || create_token.limits)::text) > 65536 then
    raise exception 'the limits of a token, with those of what it is made with, may have 65536 bytes'
      using errcode = 'program_limit_exceeded', constraint = 'tokens_limits_size';
  end if;
  -- One after the other, so that two at once don't both find room for the last.
  perform pg_advisory_xact_lock(hashtextextended('keyrow.tokens ' || asking, 0));
  if (select count(*) from keyrow.tokens t
      where t.user_id = asking and t.expires_at > now() and t.revoked_at is null)
    -- A limited one leaves room: whoever has stolen it must not keep its user from making more.
    >= (case when all_limits is null then 100 else 50 end)
  then
    raise exception 'a user has 100 tokens at once, or 50 where a limited one makes more'
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
  -- Raises where the asking token was revoked.
  asking_limits constant jsonb := keyrow.limits();
  it keyrow.tokens;
begin
  if public.current_user_id() is null then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  -- From the token up, however many others there are.
  select t.* into it from keyrow.tokens t
  where t.id = revoke_token.id and (asking_limits is null or exists (
    with recursive line as (
      select a.id, a.parent_id from keyrow.tokens a where a.id = revoke_token.id
      union
      select a.id, a.parent_id from keyrow.tokens a join line on a.id = line.parent_id
    )
    select from line
    where line.id in (select (one ->> 'token')::uuid from jsonb_array_elements(keyrow.said_limits()) one)))
  for update;
  if not found then
    return;
  end if;
  -- Revoking twice is done as well, and on the record once.
  if it.revoked_at is null then
    update keyrow.tokens t set revoked_at = now() where t.id = it.id returning t.* into it;
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
