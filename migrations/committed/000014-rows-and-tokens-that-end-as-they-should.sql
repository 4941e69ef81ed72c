--! Previous: sha1:e9c260c6f00e2327298b232b65d9b009d305fd92
--! Hash: sha1:34b392a44e14fdd9dcff77d7284b0cf2f1d98d59
--! Message: rows and tokens that end as they should

--! split: 1-current.sql
-- Rows that an application brought can be renewed and revoked, whatever they hold that is new to nobody.
--! Included functions/user_credentials_guard.sql
-- What must hold for a credential's life, whoever changes it.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.user_credentials_guard() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  new_value boolean;
begin
  -- What is not sealed is listed with every row: it must not grow into a store of its own. What an application brought
  -- stays as it is, so that its rows can be renewed and revoked: on insert, `old` is null.
  if current_user = 'keyrow_user' and (
    (new.metadata is distinct from old.metadata and octet_length(new.metadata::text) > 16384)
    or (new.description is distinct from old.description and octet_length(new.description) > 16384)
  ) then
    raise exception 'metadata and description may have 16384 bytes each'
      using errcode = 'program_limit_exceeded', constraint = 'user_credentials_unsealed_size';
  end if;
  if current_user = 'keyrow_user' and (
    (new.provider = '' and old.provider is distinct from '') or (new.name = '' and old.name is distinct from '')
  ) then
    raise exception 'provider and name can''t be empty'
      using errcode = 'check_violation', constraint = 'user_credentials_named';
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
  if new_value and new.key_id = 'legacy' and current_user = 'keyrow_user' then
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

-- Tokens end with what they were made with.
--! Included functions/tokens_end_together.sql
-- What is revoked takes along what was made with it, and an identity that is taken away what its user has made, whoever
-- does it: these run with the rights of who changes the row.
alter default privileges revoke execute on functions from public;

create or replace function keyrow.tokens_revoke_children() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $function$
begin
  update keyrow.tokens t set revoked_at = new.revoked_at where t.parent_id = new.id and t.revoked_at is null;
  return null;
end
$function$;
comment on function keyrow.tokens_revoke_children() is
  'Trigger: a token that is revoked takes along all that were made with it.';
grant execute on function keyrow.tokens_revoke_children() to keyrow_owner;

create or replace function keyrow.identities_revoke_tokens() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $function$
begin
  update keyrow.tokens t set revoked_at = now() where t.user_id = old.user_id and t.revoked_at is null;
  return null;
end
$function$;
comment on function keyrow.identities_revoke_tokens() is
  'Trigger: with an identity go all tokens that Keyrow made for its user, whatever they were made with.';
grant execute on function keyrow.identities_revoke_tokens() to keyrow_owner;
--! EndIncluded functions/tokens_end_together.sql
create or replace trigger tokens_revoke_children after update on keyrow.tokens
  for each row when (old.revoked_at is null and new.revoked_at is not null)
  execute function keyrow.tokens_revoke_children();
create or replace trigger identities_revoke_tokens after delete on keyrow.identities
  for each row execute function keyrow.identities_revoke_tokens();

update keyrow.tokens child set revoked_at = parent.revoked_at
from keyrow.tokens parent
where child.parent_id = parent.id and parent.revoked_at is not null and child.revoked_at is null;
