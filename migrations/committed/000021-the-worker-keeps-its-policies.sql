--! Previous: sha1:6051eafd4bf41a78d373c069e5fd58ab74cb97c3
--! Hash: sha1:e21f6f8d8a2b6be0b6d4adc00d7fc5d2a58ed449
--! Message: the worker keeps its policies

--! split: 1-current.sql
-- The worker's login could drop its policies, by `drop owned by keyrow_worker`: then it saw no row, and had nothing to do.
-- With rights to some columns of a table and not to all, a role is refused that.
revoke select on public.user_credentials from keyrow_worker;
grant select (id, user_id, workspace_id, scope, encrypted_value, key_id) on public.user_credentials to keyrow_worker;
