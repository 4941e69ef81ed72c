--! Previous: sha1:08c9ccdefc87ea8e1e5056933598b81bd6d7b947
--! Hash: sha1:b137db01450c5fbfc69986626acf630a94929999
--! Message: tokens that can do little

--! split: 1-current.sql
-- Tokens that can do little: the limits of a token bind what its user may do, in every statement.
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
grant execute on function keyrow.is_limit(jsonb) to keyrow_user, keyrow_reveal;

create or replace function keyrow.limits() returns jsonb
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
comment on function keyrow.limits() is
  'The limits of the asking token, all of which must hold: keyrow.limits, or where that is unset the claim `keyrow` of request.jwt.claims. Null: it has none. Raises where they are not set, or can''t be understood.';
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
--! Included functions/limit_foundation.sql
-- What a limited token sees of the application's own tables, and that it changes none of them: for the tables that
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
  end loop;
end
$function$;
comment on function keyrow.limit_foundation() is
  'Makes the policies that hold limited tokens to their limits, on those of foundation.sql''s tables that are there.';

select keyrow.limit_foundation();
--! EndIncluded functions/limit_foundation.sql
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
