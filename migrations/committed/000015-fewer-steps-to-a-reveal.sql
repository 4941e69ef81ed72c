--! Previous: sha1:34b392a44e14fdd9dcff77d7284b0cf2f1d98d59
--! Hash: sha1:26ab931cf10ea0f6a8f4871affeb608979bd7633
--! Message: fewer steps to a reveal

--! split: 1-current.sql
-- A reveal takes fewer steps.
--! Included functions/reveal_user_credentials.sql
-- The one way to a ciphertext. Whether a row is found is decided by the policies for keyrow_reveal, with the caller's
-- claims; whoever is found revealing is on the record, in the same transaction, before the ciphertext leaves.
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
alter default privileges revoke execute on functions from public;

-- What it was before it could say how much there is room for. Beside the other it would make every call of one argument
-- ambiguous.
drop function if exists keyrow.reveal_user_credentials(uuid[]);

create or replace function keyrow.reveal_user_credentials(ids uuid[], most_bytes bigint default null)
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
        end as stopped
      from public.user_credentials c
      where c.id = any (ids)
    ),
    -- What an answer has no room for is refused before it is on the record. Its length is known without reading it.
    room as materialized (
      select case when sum(octet_length(a.encrypted_value)) > most_bytes then 'LIMIT_EXCEEDED' end as refusal
      from asked a
      where a.stopped is null
    ),
    recorded as materialized (
      select
        keyrow.log_credential_events(
          'CREDENTIAL_ACCESSED', array_agg(a.id), array_agg(case when a.scope = 'WORKSPACE' then a.workspace_id end),
          array_agg(jsonb_object(array['provider', a.provider, 'name', a.name, 'scope', a.scope::text]))) as done
      from asked a
      where a.stopped is null and (select r.refusal from room r) is null
      having count(*) > 0
    ),
    answered as (
      select a.*, a.stopped is null and coalesce((select r.done from recorded r), false) as recorded
      from asked a
    )
    select
      a.id, coalesce(a.stopped, (select r.refusal from room r)), a.recorded,
      case when a.recorded then a.encrypted_value end, case when a.recorded then a.key_id end,
      a.scope, a.user_id, a.workspace_id
    from answered a;
end
$function$;
comment on function keyrow.reveal_user_credentials(uuid[], bigint) is
  'The ciphertexts of those of the given credentials that the policies let the asking user reveal, each on the record. A revoked or expired one comes with its refusal instead, and so do all of them where their ciphertexts together have more bytes than may be; one that may not be revealed comes not at all.';
grant execute on function keyrow.reveal_user_credentials(uuid[], bigint) to keyrow_user;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_user_credentials.sql
