--! Previous: sha1:5b967dad6feaa29493a12f576034f9a9d6d0e835
--! Hash: sha1:08c9ccdefc87ea8e1e5056933598b81bd6d7b947
--! Message: the life of keys

--! split: 1-current.sql
-- Keys have a life: values move from one key to the next, page by page, and a start that lacks a key names rows.
-- With the id behind it, the index also pages through one key's rows.
create index if not exists user_credentials_key_id_id_idx on public.user_credentials (key_id, id);
drop index if exists public.user_credentials_key_id_idx;

--! Included functions/key_rows.sql
-- Which rows a start that lacks their key should name: the worker's to see, and callable by the login role alone.
grant create on schema keyrow to keyrow_worker;
set local role keyrow_worker;
alter default privileges revoke execute on functions from public;

create or replace function keyrow.key_rows(key_id text) returns setof uuid
language sql stable rows 3 security definer set search_path = pg_catalog, pg_temp
as $function$
  select c.id from public.user_credentials c where c.key_id = $1 order by c.id limit 3
$function$;
comment on function keyrow.key_rows(text) is 'The first three credentials that a key has sealed, by id.';
grant execute on function keyrow.key_rows(text) to keyrow_authenticator;

set local role keyrow_owner;
revoke create on schema keyrow from keyrow_worker;
--! EndIncluded functions/key_rows.sql
