--! Previous: -
--! Hash: sha1:7e4a32e1af7426bded53ab076ed7455e59ff057a
--! Message: credential types

--! split: 1-types.sql
-- The enums. Values that are added to a type can't be used in the transaction that adds them: hence a migration
-- of its own. `add value if not exists` fails for who doesn't own the type even when the value is there: ask first.
do $types$
declare
  addition record;
begin
  if to_regtype('public."CredentialType"') is null then
    create type public."CredentialType" as enum ('API_KEY', 'OAUTH_TOKEN', 'ACCESS_TOKEN', 'SECRET', 'PASSWORD', 'CUSTOM');
  end if;
  if to_regtype('public."CredentialScope"') is null then
    create type public."CredentialScope" as enum ('USER', 'WORKSPACE', 'SYSTEM');
  end if;

  for addition in
    select * from (values
      ('EntityType', 'CREDENTIAL'),
      ('ActivityAction', 'CREDENTIAL_CREATED'),
      ('ActivityAction', 'CREDENTIAL_ACCESSED'),
      ('ActivityAction', 'CREDENTIAL_ROTATED'),
      ('ActivityAction', 'CREDENTIAL_REVOKED')
    ) as additions (type, value)
  loop
    if not exists (
      select from pg_catalog.pg_enum
      where enumtypid = format('public.%I', addition.type)::regtype and enumlabel = addition.value
    ) then
      execute format('alter type public.%I add value %L', addition.type, addition.value);
    end if;
  end loop;
end
$types$;

comment on type public."CredentialType" is 'What kind of secret a credential is.';
comment on type public."CredentialScope" is
  'Whom a credential belongs to: its user alone, the admins of a workspace, or the system.';
