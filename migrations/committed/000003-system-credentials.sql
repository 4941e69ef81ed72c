--! Previous: sha1:86b9dd44e450d77db8192a98e1f3869e6749a7bc
--! Hash: sha1:5b967dad6feaa29493a12f576034f9a9d6d0e835
--! Message: system credentials

--! split: 1-current.sql
-- SYSTEM credentials are revealed to DB admins, on the record, and their use is noted like any other's. What writes to the
-- log is a seam from here on, and a reveal is planned once.
--! Included functions/log_credential_event.sql
-- The one place that writes to the activity log, and so the seam for an application whose log looks different: made only
-- where it is missing, so that no later migration takes an application's own away.
-- It runs as keyrow_reveal, inside the reveal function and the log's triggers; nobody else may call it.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

do $seam$
begin
  if to_regprocedure('keyrow.log_credential_event(public."ActivityAction", uuid, uuid, jsonb)') is null then
    create function keyrow.log_credential_event(
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
  end if;
end
$seam$;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/log_credential_event.sql
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
        a.*,
        case when a.refusal is null then
          keyrow.log_credential_event(
            'CREDENTIAL_ACCESSED', a.id, null,
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
comment on function keyrow.reveal_system_credentials(uuid[]) is
  'The ciphertexts of the given SYSTEM credentials, each on the record; for a login that may become keyrow_admin, without claims. A revoked or expired one comes with its refusal instead.';
grant execute on function keyrow.reveal_system_credentials(uuid[]) to keyrow_admin;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_system_credentials.sql
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
grant execute on function keyrow.touch(uuid[]) to keyrow_authenticator, keyrow_admin;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_worker;
--! EndIncluded functions/touch.sql
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
--! EndIncluded policies/user_credentials.sql
