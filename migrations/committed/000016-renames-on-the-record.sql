--! Previous: sha1:26ab931cf10ea0f6a8f4871affeb608979bd7633
--! Hash: sha1:178c860bf2f7ad0c4d674211aa965a337e61a1e5
--! Message: renames on the record

--! split: 1-current.sql
-- A login of requests leaves no entry of nobody's, and a credential that is renamed is on the record.
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
  -- A request always has claims, and what such a login does without is nobody's: it would have taken them away itself,
  -- in the statement that it is about. A session of an admin's or the owner's has none, and says so.
  if public.current_user_id() is null
    and pg_has_role(session_user, 'keyrow_user', 'MEMBER')
    and not pg_has_role(session_user, 'keyrow_admin', 'MEMBER')
    and not pg_has_role(session_user, 'keyrow_owner', 'MEMBER')
  then
    raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
  end if;
  if tg_op = 'DELETE' then
    details := details || '{"deleted": true}';
  elsif tg_argv[1] = 'renamed' then
    -- The specification has no action for it: a credential comes to be in a place, and has left another.
    details := details || jsonb_build_object('renamed', jsonb_strip_nulls(jsonb_build_object(
      'provider', old.provider, 'name', old.name, 'scope', old.scope, 'workspace', old.workspace_id)));
  end if;
  perform keyrow.log_credential_events(
    tg_argv[0]::public."ActivityAction", array[credential.id],
    array[case when credential.scope = 'WORKSPACE' then credential.workspace_id end], array[details]);
  return null;
end
$function$;
comment on function keyrow.user_credentials_log() is
  'Trigger: writes the action given as its argument to the activity log, with the old place where the second says renamed. Raises for a request without claims.';
grant execute on function keyrow.user_credentials_log() to keyrow_owner;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/user_credentials_log.sql
-- Not compared as rows: a dump would bring the trigger back in other words.
create or replace trigger user_credentials_log_renamed after update on public.user_credentials
  for each row when (
    old.provider is distinct from new.provider
    or old.name is distinct from new.name
    or old.scope is distinct from new.scope
    or old.workspace_id is distinct from new.workspace_id)
  execute function keyrow.user_credentials_log('CREDENTIAL_CREATED', 'renamed');
