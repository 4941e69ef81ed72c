--! Previous: sha1:b137db01450c5fbfc69986626acf630a94929999
--! Hash: sha1:53c97fa38cbd91ba7a026cced28b972b21562784
--! Message: who is who

--! split: 1-current.sql
-- Issuers whose subjects are no UUIDs: who is who.
create table if not exists keyrow.identities (
  issuer text not null check (length(issuer) between 1 and 255),
  subject text not null check (length(subject) between 1 and 255),
  user_id uuid not null references public.users (id) on delete cascade on update cascade,
  created_at timestamptz not null default now(),
  created_by text not null default session_user,
  unique (issuer, subject)
);
create index if not exists identities_user_id_idx on keyrow.identities (user_id);
comment on table keyrow.identities is 'Which user an issuer''s subject is.';
comment on column keyrow.identities.issuer is 'Exactly what the issuer''s tokens have as `iss`.';
comment on column keyrow.identities.subject is 'Exactly what its tokens have in the claim that names the user.';
comment on column keyrow.identities.user_id is 'The user that it is.';
comment on column keyrow.identities.created_at is 'Since when.';
comment on column keyrow.identities.created_by is 'The login that made it: a DB admin''s, or the server''s at a first token.';

--! Included policies/identities.sql
-- Who may say who an issuer's subject is: DB admins, and provisioning at a first token. No API role sees it.
alter table keyrow.identities enable row level security;
alter table keyrow.identities force row level security;

revoke all on keyrow.identities from public, keyrow_user, keyrow_anonymous, keyrow_reveal, keyrow_worker, keyrow_admin;
-- Taken away and given anew, never changed: who made it stays true.
grant select, insert (issuer, subject, user_id), delete on keyrow.identities to keyrow_admin;
grant select, insert (issuer, subject, user_id) on keyrow.identities to keyrow_reveal;

drop policy if exists identities_all_maintenance on keyrow.identities;
create policy identities_all_maintenance on keyrow.identities
  for all to keyrow_owner, keyrow_admin using (true) with check (true);
comment on policy identities_all_maintenance on keyrow.identities is
  'The table''s owner and DB admins manage identities.';

drop policy if exists identities_select_reveal on keyrow.identities;
create policy identities_select_reveal on keyrow.identities
  for select to keyrow_reveal using (true);
comment on policy identities_select_reveal on keyrow.identities is
  'keyrow.identified_user tells the server who the subject of a token is.';

drop policy if exists identities_insert_provision on keyrow.identities;
create policy identities_insert_provision on keyrow.identities
  for insert to keyrow_reveal with check (true);
comment on policy identities_insert_provision on keyrow.identities is
  'keyrow.provision_identity writes down who a new subject is.';
--! EndIncluded policies/identities.sql
--! Included functions/identified_user.sql
-- What the server may ask about identities: one at a time, by what a token says. Callable by the login role alone.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.identified_user(issuer text, subject text) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $function$
  select i.user_id from keyrow.identities i where i.issuer = $1 and i.subject = $2
$function$;
comment on function keyrow.identified_user(text, text) is 'The user that an issuer''s subject is; null for a stranger.';
grant execute on function keyrow.identified_user(text, text) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/identified_user.sql
--! Included functions/provision_identity.sql
-- A user for a subject that comes for the first time, where its issuer is said to make users.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

-- The seam for an application whose users need more than this, so it is made only where it is missing; and only where
-- foundation.sql has made the users, for nobody else's can be made without knowing them.
do $seam$
begin
  if to_regprocedure('keyrow.provision_user(text, text)') is not null
    and to_regprocedure('keyrow.provision_user(text, text, jsonb)') is null
  then
    create function keyrow.provision_user(issuer text, subject text, claims jsonb) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $function$
    declare
      id uuid := gen_random_uuid();
    begin
      -- The row of the asking user alone is made, who is this one from here on.
      perform set_config('jwt.claims.user_id', id::text, true), set_config('keyrow.limits', 'none', true);
      if not keyrow.provision_user(claims ->> 'email', claims ->> 'name') then
        raise exception 'no user was made' using errcode = 'internal_error';
      end if;
      return id;
    end
    $function$;
    comment on function keyrow.provision_user(text, text, jsonb) is
      'Makes a user for an issuer''s subject, of the claims `email` (a verified one) and `name` where it has them; gives the id.';
  end if;
end
$seam$;

create or replace function keyrow.provision_identity(issuer text, subject text, claims jsonb) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $function$
declare
  known uuid;
begin
  -- First requests at once queue here, and the second finds what the first has made.
  perform pg_advisory_xact_lock(hashtextextended(issuer || ' ' || subject, 0));
  known := keyrow.identified_user(issuer, subject);
  if known is not null then
    return known;
  end if;
  known := keyrow.provision_user(issuer, subject, claims);
  insert into keyrow.identities (issuer, subject, user_id) values (issuer, subject, known);
  return known;
end
$function$;
comment on function keyrow.provision_identity(text, text, jsonb) is
  'The user that an issuer''s subject is; a stranger gets one of their own, made by keyrow.provision_user.';
grant execute on function keyrow.provision_identity(text, text, jsonb) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/provision_identity.sql
