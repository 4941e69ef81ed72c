--! Previous: sha1:145869620e67600ad719ce6b01f76d52544c3b7b
--! Hash: sha1:b1b1bb403c77ac68a699ad0f86715cdc3813b97e
--! Message: owned by nobody who logs in

--! split: 1-current.sql
-- What the server's login may ask of all rows belonged to the worker, so that whoever had the worker's login could change it
-- or take it away. It belongs to a role that nobody logs in as, which sees no ciphertext.
set local role keyrow_worker;
drop function if exists keyrow.key_census();
drop function if exists keyrow.key_rows(text);
drop function if exists keyrow.touch(uuid[]);
set local role keyrow_owner;

--! Included functions/key_census.sql
-- What the server may ask about all rows, without seeing any: callable by the login role alone, and owned by
-- a role that nobody logs in as.
grant create on schema keyrow to keyrow_upkeep;
set local role keyrow_upkeep;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.key_census() returns table (key_id text, credentials bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $function$
  select c.key_id, count(*) from public.user_credentials c group by c.key_id order by c.key_id
$function$;
comment on function keyrow.key_census() is 'How many credentials each key has sealed.';
grant execute on function keyrow.key_census() to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_upkeep;
--! EndIncluded functions/key_census.sql
--! Included functions/key_rows.sql
-- Which rows a start that lacks their key should name: by id, and callable by the login role alone.
grant create on schema keyrow to keyrow_upkeep;
set local role keyrow_upkeep;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.key_rows(key_id text) returns setof uuid
language sql stable rows 3 security definer set search_path = pg_catalog, pg_temp
as $function$
  select c.id from public.user_credentials c where c.key_id = $1 order by c.id limit 3
$function$;
comment on function keyrow.key_rows(text) is 'The first three credentials that a key has sealed, by id.';
grant execute on function keyrow.key_rows(text) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_upkeep;
--! EndIncluded functions/key_rows.sql
--! Included functions/touch.sql
-- When a value was last used, to the minute and off the request's path; the log has the exact times.
grant create on schema keyrow to keyrow_upkeep;
set local role keyrow_upkeep;
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
revoke create on schema keyrow from keyrow_upkeep;
--! EndIncluded functions/touch.sql
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
  'Trigger: takes updated_at back where a row was resealed or its use noted, which is no change of it.';
--! EndIncluded functions/update_user_credentials_updated_at.sql
--! Included policies/user_credentials.sql
-- Who may do what to a credential. Safe to run again.
--
-- Listing is `select` as keyrow_user; revealing is `select` as keyrow_reveal, with the same claims. A policy that
-- means both names both; a policy `to keyrow_user` alone lets somebody list but not reveal.
alter table public.user_credentials enable row level security;
alter table public.user_credentials force row level security;

revoke all on public.user_credentials
  from public, keyrow_user, keyrow_anonymous, keyrow_reveal, keyrow_upkeep, keyrow_worker, keyrow_admin;

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
grant select (id, key_id, last_used_at), update (last_used_at) on public.user_credentials to keyrow_upkeep;

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

drop policy if exists user_credentials_select_upkeep on public.user_credentials;
create policy user_credentials_select_upkeep on public.user_credentials
  for select to keyrow_upkeep using (true);
comment on policy user_credentials_select_upkeep on public.user_credentials is
  'The server''s questions about all rows count them by key; the grants hold them to that.';

drop policy if exists user_credentials_update_upkeep on public.user_credentials;
create policy user_credentials_update_upkeep on public.user_credentials
  for update to keyrow_upkeep using (true) with check (true);
comment on policy user_credentials_update_upkeep on public.user_credentials is
  'The last use of any credential is noted; the grants hold it to that.';

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

create or replace trigger user_credentials_guard before insert or update on public.user_credentials
  for each row when (current_user not in ('keyrow_worker', 'keyrow_upkeep'))
  execute function keyrow.user_credentials_guard();
create or replace trigger user_credentials_updated_at_keep before update on public.user_credentials
  for each row when (current_user in ('keyrow_worker', 'keyrow_upkeep'))
  execute function keyrow.user_credentials_updated_at_keep();
