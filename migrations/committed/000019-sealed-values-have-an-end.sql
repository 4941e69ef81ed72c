--! Previous: sha1:cf43be7c1867fd20fd7a58d7a0733d3b46e5327b
--! Hash: sha1:4611cb9d67d942fe0ea0696a507e70fff72e82a1
--! Message: sealed values have an end

--! split: 1-current.sql
-- A sealed value is no longer than what the API takes can make it.
--! Included functions/user_credentials_guard.sql
-- What must hold for a credential's life, whoever changes it.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.user_credentials_guard() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  new_value boolean;
  -- A login of requests can give its role back within the statement, so it is asked as well.
  requested constant boolean := current_user = 'keyrow_user' or (
    pg_has_role(session_user, 'keyrow_user', 'MEMBER')
    and not pg_has_role(session_user, 'keyrow_admin', 'MEMBER')
    and not pg_has_role(session_user, 'keyrow_owner', 'MEMBER'));
begin
  -- What is not sealed is listed with every row: it must not grow into a store of its own. What an application brought
  -- stays as it is, so that its rows can be renewed and revoked: on insert, `old` is null.
  if requested and (
    (new.metadata is distinct from old.metadata and octet_length(new.metadata::text) > 16384)
    or (new.description is distinct from old.description and octet_length(new.description) > 16384)
  ) then
    raise exception 'metadata and description may have 16384 bytes each'
      using errcode = 'program_limit_exceeded', constraint = 'user_credentials_unsealed_size';
  end if;
  if requested and (
    (new.provider = '' and old.provider is distinct from '') or (new.name = '' and old.name is distinct from '')
  ) then
    raise exception 'provider and name can''t be empty'
      using errcode = 'check_violation', constraint = 'user_credentials_named';
  end if;
  -- The longest value that the API takes has some 90,000 bytes when it is sealed. Who moves values to another key holds
  -- hundreds of them at once.
  if requested and new.encrypted_value is distinct from old.encrypted_value
    and octet_length(new.encrypted_value) > 131072
  then
    raise exception 'a sealed value may have 131072 bytes'
      using errcode = 'program_limit_exceeded', constraint = 'user_credentials_sealed_size';
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
  if new_value and new.key_id = 'legacy' and requested then
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
