-- The roles, once per server. Safe to run again; needs CREATEROLE, not superuser. Passwords are set apart.
-- NOINHERIT comes with `create role`: on 16 and later, `alter role ... noinherit` after a grant changes nothing.
do $roles$
declare
  role record;
  taken text;
begin
  for role in
    select * from (values
      ('keyrow_owner', false, 'Owns Keyrow''s tables. FORCE row level security binds it as well.'),
      ('keyrow_authenticator', true, 'What the server connects as: owns nothing, and becomes keyrow_user for each request.'),
      ('keyrow_user', false, 'A request with a valid token: lists and writes, never sees ciphertext.'),
      ('keyrow_anonymous', false, 'A request without a token, under PostgREST: can read nothing.'),
      ('keyrow_reveal', false, 'Owns the reveal function and the log''s triggers: selects ciphertext and inserts into the log.'),
      ('keyrow_upkeep', false, 'Owns what the server''s login may ask of all rows: counts by key, sets the last use, sees no ciphertext.'),
      ('keyrow_worker', true, 'Healing and rewrap: replaces ciphertext and key id, nothing else.'),
      ('keyrow_admin', false, 'DB admins: the admin bypass that SYSTEM scope needs, where no claims are set.'),
      ('keyrow_migrate', true, 'What `keyrow migrate` connects as: becomes the owners of Keyrow''s objects to make them.')
    ) as roles (name, login, comment)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = role.name) then
      execute format('create role %I noinherit %s', role.name, case when role.login then 'login' else 'nologin' end);
    end if;
    execute format('comment on role %I is %L', role.name, role.comment);
    -- One that was there already may have what row level security does not hold. Who may not give an attribute may not
    -- name it either.
    select string_agg(attributes.taken, ' ') into taken
    from pg_catalog.pg_roles r, lateral (values
      (r.rolsuper, 'nosuperuser'), (r.rolbypassrls, 'nobypassrls'), (r.rolcreaterole, 'nocreaterole'),
      (r.rolcreatedb, 'nocreatedb'), (r.rolreplication, 'noreplication')) as attributes (had, taken)
    where r.rolname = role.name and attributes.had;
    if taken is not null then
      begin
        execute format('alter role %I %s', role.name, taken);
      exception when insufficient_privilege then
        raise exception 'the role % may do more than Keyrow''s roles may, and this login may not take that away', role.name
          using errcode = 'insufficient_privilege',
            hint = format('Let a superuser run: alter role %I %s;', role.name, taken);
      end;
    end if;
  end loop;
end
$roles$;

-- Never keyrow_reveal, keyrow_upkeep or keyrow_worker to keyrow_owner: policies match roles by inheritance.
grant keyrow_user, keyrow_anonymous to keyrow_authenticator;
grant keyrow_owner, keyrow_reveal, keyrow_upkeep, keyrow_worker to keyrow_migrate;
