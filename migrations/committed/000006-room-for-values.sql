--! Previous: sha1:b1600f117b7835f029a07c8d6cddc8823def0276
--! Hash: sha1:625375182ff8948a0552d128d5af0685595941e6
--! Message: room for values

--! split: 1-current.sql
-- What changes, and why. A policy or function: edit its file in migrations/fixtures, and end with its line:
-- --! include policies/user_credentials.sql
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
    fitting as materialized (
      select
        a.*,
        case
          when a.stopped is not null then a.stopped
          when sum(octet_length(a.encrypted_value)) filter (where a.stopped is null) over () > most_bytes
            then 'LIMIT_EXCEEDED'
        end as refusal
      from asked a
    ),
    recorded as materialized (
      select
        keyrow.log_credential_events(
          'CREDENTIAL_ACCESSED', array_agg(f.id), array_agg(case when f.scope = 'WORKSPACE' then f.workspace_id end),
          array_agg(jsonb_build_object('provider', f.provider, 'name', f.name, 'scope', f.scope))) as done
      from fitting f
      where f.refusal is null
      having count(*) > 0
    ),
    answered as (
      select f.*, f.refusal is null and coalesce((select r.done from recorded r), false) as recorded
      from fitting f
    )
    select
      a.id, a.refusal, a.recorded, case when a.recorded then a.encrypted_value end,
      case when a.recorded then a.key_id end, a.scope, a.user_id, a.workspace_id
    from answered a;
end
$function$;
comment on function keyrow.reveal_user_credentials(uuid[], bigint) is
  'The ciphertexts of those of the given credentials that the policies let the asking user reveal, each on the record. A revoked or expired one comes with its refusal instead, and so do all of them where their ciphertexts together have more bytes than may be; one that may not be revealed comes not at all.';
grant execute on function keyrow.reveal_user_credentials(uuid[], bigint) to keyrow_user;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
--! EndIncluded functions/reveal_user_credentials.sql
