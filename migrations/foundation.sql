-- What an application brings, for everybody who has none: users, workspaces, members, the activity log, and the two
-- functions that tell who is asking. Each is made only where it is missing, so it can be run again, and an
-- application's own is never replaced. It runs as keyrow_owner, before the migrations.

-- Nothing that is made from here on is executable by everybody.
alter default privileges revoke execute on functions from public;

-------------------------------------------------------------------------------------------------------- who is asking
do $foundation$
begin
  if to_regprocedure('public.current_user_id()') is null then
    -- nullif: an unset setting reads as '' once it has been set in the session. A claim that is no UUID raises
    -- 22P02: softened to null it would read as "nobody", for whom the owner's bypass is open.
    -- `return`, not a string: its operators are looked up now, so that no search path of the asking session can put
    -- another `=` in place (tried: the claims then read as null), and it can still be inlined.
    create function public.current_user_id() returns uuid
    language sql stable
    return coalesce(
      nullif(pg_catalog.current_setting('jwt.claims.user_id', true), ''),
      nullif(nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'user_id', ''),
      nullif(nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'sub', '')
    )::uuid;
    comment on function public.current_user_id() is
      'The user whose claims are set: jwt.claims.user_id, else user_id or sub of request.jwt.claims. Null without claims.';
    grant execute on function public.current_user_id()
      to keyrow_user, keyrow_reveal, keyrow_worker, keyrow_admin, keyrow_anonymous;
  end if;
end
$foundation$;

---------------------------------------------------------------------------------------------------------------- types
do $foundation$
begin
  if to_regtype('public."WorkspaceMemberRole"') is null then
    create type public."WorkspaceMemberRole" as enum ('OWNER', 'ADMIN', 'MEMBER', 'GUEST');
    comment on type public."WorkspaceMemberRole" is 'What a member may do in a workspace: owners and admins manage its credentials.';
  end if;
  if to_regtype('public."EntityType"') is null then
    create type public."EntityType" as enum ('USER', 'WORKSPACE');
    comment on type public."EntityType" is 'What kind of thing an entry of the activity log is about.';
  end if;
  if to_regtype('public."ActivityAction"') is null then
    create type public."ActivityAction" as enum ('CREATED', 'UPDATED', 'DELETED');
    comment on type public."ActivityAction" is 'What an entry of the activity log says was done.';
  end if;
end
$foundation$;

---------------------------------------------------------------------------------------------------------------- tables
do $foundation$
begin
  if to_regclass('public.users') is null then
    create table public.users (
      id uuid primary key default public.uuid_generate_v4(),
      email text check (email like '%_@_%'),
      name text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    create unique index users_email_key on public.users (lower(email));
    comment on table public.users is 'A person with credentials.';
    comment on column public.users.id is 'The user''s id: what the claims of a token name.';
    comment on column public.users.created_at is 'When the row was made.';
    comment on column public.users.updated_at is 'When the row was last changed.';
    comment on column public.users.email is 'Where known; unique without regard to case. Not shown by the API.';
    comment on column public.users.name is 'What the person is called.';
  end if;

  if to_regclass('public.workspaces') is null then
    create table public.workspaces (
      id uuid primary key default public.uuid_generate_v4(),
      name text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    comment on table public.workspaces is 'A team that shares credentials.';
    comment on column public.workspaces.id is 'The workspace''s id.';
    comment on column public.workspaces.created_at is 'When the workspace was made.';
    comment on column public.workspaces.updated_at is 'When the workspace was last changed.';
    comment on column public.workspaces.name is 'What the workspace is called.';
  end if;

  if to_regclass('public.workspace_members') is null then
    create table public.workspace_members (
      workspace_id uuid not null references public.workspaces (id) on delete cascade on update cascade,
      user_id uuid not null references public.users (id) on delete cascade on update cascade,
      role public."WorkspaceMemberRole" not null default 'MEMBER',
      joined_at timestamptz not null default now(),
      primary key (workspace_id, user_id)
    );
    create index workspace_members_user_id_idx on public.workspace_members (user_id);
    comment on table public.workspace_members is 'Who belongs to a workspace, and as what.';
    comment on column public.workspace_members.workspace_id is 'The workspace.';
    comment on column public.workspace_members.user_id is 'Who belongs to it.';
    comment on column public.workspace_members.joined_at is 'Since when.';
    comment on column public.workspace_members.role is 'Owners and admins manage the workspace''s credentials.';
  end if;
end
$foundation$;

------------------------------------------------------------------------------------------- who belongs where: functions
-- They belong to keyrow_reveal, which may read the members whoever asks, and answer for the asking user alone.
grant create on schema public, keyrow to keyrow_reveal;

do $foundation$
begin
  if to_regclass('public.workspace_members') is not null
    and pg_catalog.pg_get_userbyid((select relowner from pg_catalog.pg_class where oid = 'public.workspace_members'::regclass)) = 'keyrow_owner'
  then
    grant select on public.workspace_members to keyrow_reveal;
    set local role keyrow_reveal;
    alter default privileges revoke execute on functions from public;

    if to_regprocedure('public.is_workspace_admin(uuid, uuid)') is null then
      create function public.is_workspace_admin(workspace_id uuid, user_id uuid) returns boolean
      language plpgsql stable security definer set search_path = pg_catalog, pg_temp
      as $function$
      begin
        if public.current_user_id() is null then
          raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
        end if;
        return exists (
          select from public.workspace_members m
          where m.workspace_id = is_workspace_admin.workspace_id
            and m.user_id = is_workspace_admin.user_id
            and m.role in ('OWNER', 'ADMIN')
            -- Only what the caller may know: about oneself, or about a workspace one belongs to.
            and (m.user_id = public.current_user_id() or exists (
              select from public.workspace_members own
              where own.workspace_id = m.workspace_id and own.user_id = public.current_user_id()))
        );
      end
      $function$;
      comment on function public.is_workspace_admin(uuid, uuid) is
        'Whether the user is an owner or admin of the workspace, as far as the asking user may know.';
      grant execute on function public.is_workspace_admin(uuid, uuid) to keyrow_owner, keyrow_user;
    end if;

    if to_regprocedure('keyrow.admin_workspace_ids()') is null then
      create function keyrow.admin_workspace_ids() returns setof uuid
      language plpgsql stable rows 10 security definer set search_path = pg_catalog, pg_temp
      as $function$
      begin
        if public.current_user_id() is null then
          raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
        end if;
        return query
          select m.workspace_id from public.workspace_members m
          where m.user_id = public.current_user_id() and m.role in ('OWNER', 'ADMIN');
      end
      $function$;
      comment on function keyrow.admin_workspace_ids() is
        'The workspaces of which the asking user is owner or admin: is_workspace_admin, for all workspaces at once.';
      grant execute on function keyrow.admin_workspace_ids() to keyrow_owner, keyrow_user;
    end if;

    if to_regprocedure('keyrow.member_workspace_ids()') is null then
      create function keyrow.member_workspace_ids() returns setof uuid
      language plpgsql stable rows 10 security definer set search_path = pg_catalog, pg_temp
      as $function$
      begin
        if public.current_user_id() is null then
          raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
        end if;
        return query
          select m.workspace_id from public.workspace_members m where m.user_id = public.current_user_id();
      end
      $function$;
      comment on function keyrow.member_workspace_ids() is 'The workspaces that the asking user belongs to, in any role.';
      grant execute on function keyrow.member_workspace_ids() to keyrow_owner, keyrow_user;
    end if;

    if to_regprocedure('keyrow.co_member_ids()') is null then
      create function keyrow.co_member_ids() returns setof uuid
      language plpgsql stable rows 100 security definer set search_path = pg_catalog, pg_temp
      as $function$
      begin
        if public.current_user_id() is null then
          raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
        end if;
        return query
          select distinct m.user_id from public.workspace_members m
          where m.workspace_id = any (array(select keyrow.member_workspace_ids()));
      end
      $function$;
      comment on function keyrow.co_member_ids() is 'Everybody who shares a workspace with the asking user.';
      grant execute on function keyrow.co_member_ids() to keyrow_owner, keyrow_user;
    end if;

    set local role keyrow_owner;
  end if;
end
$foundation$;

------------------------------------------------------------------------------------------------ users: who may do what
do $foundation$
begin
  if not exists (select from pg_catalog.pg_policies where schemaname = 'public' and tablename = 'users')
    and pg_catalog.pg_get_userbyid((select relowner from pg_catalog.pg_class where oid = 'public.users'::regclass)) = 'keyrow_owner'
  then
    alter table public.users enable row level security;
    alter table public.users force row level security;
    revoke all on public.users from public;
    grant select (id, name) on public.users to keyrow_user;
    grant select, insert, update, delete on public.users to keyrow_admin;
    -- Only to make a user's row at the first valid token.
    grant select (id, email), insert (id, email, name) on public.users to keyrow_reveal;

    create policy users_all_maintenance on public.users
      for all to keyrow_owner, keyrow_admin using (true) with check (true);
    comment on policy users_all_maintenance on public.users is 'The table''s owner and DB admins manage users.';

    create policy users_select_self on public.users
      for select to keyrow_user using (id = (select public.current_user_id()));
    comment on policy users_select_self on public.users is 'Everybody sees themselves.';

    create policy users_select_co_member on public.users
      for select to keyrow_user using (id = any (array(select keyrow.co_member_ids())));
    comment on policy users_select_co_member on public.users is 'Everybody sees those they share a workspace with.';

    create policy users_select_provision on public.users for select to keyrow_reveal using (true);
    comment on policy users_select_provision on public.users is 'Provisioning asks whether an e-mail address is taken.';

    create policy users_insert_provision on public.users
      for insert to keyrow_reveal with check (id = (select public.current_user_id()));
    comment on policy users_insert_provision on public.users is 'Provisioning makes the row of the asking user alone.';

    grant create on schema keyrow to keyrow_reveal;
    set local role keyrow_reveal;
    create or replace function keyrow.provision_user(email text, name text) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    as $function$
    declare
      made integer;
    begin
      if public.current_user_id() is null then
        raise exception 'no claims are set' using errcode = 'invalid_authorization_specification';
      end if;
      -- An address that somebody has already stays theirs: the new row is made without one.
      insert into public.users (id, email, name)
      values (
        public.current_user_id(),
        case when provision_user.email like '%_@_%' and not exists (
          select from public.users u where lower(u.email) = lower(provision_user.email)) then provision_user.email end,
        left(provision_user.name, 200))
      on conflict do nothing;
      get diagnostics made = row_count;
      return made = 1;
    end
    $function$;
    comment on function keyrow.provision_user(text, text) is
      'Makes the row of the asking user at their first valid token; true where it was made.';
    grant execute on function keyrow.provision_user(text, text) to keyrow_user;
    set local role keyrow_owner;
  end if;
end
$foundation$;

------------------------------------------------------------------------------------------- workspaces: who may do what
do $foundation$
begin
  if not exists (select from pg_catalog.pg_policies where schemaname = 'public' and tablename = 'workspaces')
    and pg_catalog.pg_get_userbyid((select relowner from pg_catalog.pg_class where oid = 'public.workspaces'::regclass)) = 'keyrow_owner'
  then
    alter table public.workspaces enable row level security;
    alter table public.workspaces force row level security;
    revoke all on public.workspaces from public;
    grant select on public.workspaces to keyrow_user;
    grant select, insert, update, delete on public.workspaces to keyrow_admin;

    create policy workspaces_all_maintenance on public.workspaces
      for all to keyrow_owner, keyrow_admin using (true) with check (true);
    comment on policy workspaces_all_maintenance on public.workspaces is 'The table''s owner and DB admins manage workspaces.';

    create policy workspaces_select_member on public.workspaces
      for select to keyrow_user using (id = any (array(select keyrow.member_workspace_ids())));
    comment on policy workspaces_select_member on public.workspaces is 'Members, in any role, see their workspace.';
  end if;
end
$foundation$;

------------------------------------------------------------------------------------ workspace_members: who may do what
do $foundation$
begin
  if not exists (select from pg_catalog.pg_policies where schemaname = 'public' and tablename = 'workspace_members')
    and pg_catalog.pg_get_userbyid((select relowner from pg_catalog.pg_class where oid = 'public.workspace_members'::regclass)) = 'keyrow_owner'
  then
    alter table public.workspace_members enable row level security;
    alter table public.workspace_members force row level security;
    revoke all on public.workspace_members from public;
    grant select on public.workspace_members to keyrow_user;
    grant select, insert, update, delete on public.workspace_members to keyrow_admin;

    create policy workspace_members_all_maintenance on public.workspace_members
      for all to keyrow_owner, keyrow_admin using (true) with check (true);
    comment on policy workspace_members_all_maintenance on public.workspace_members is
      'The table''s owner and DB admins manage members.';

    -- A policy on this table must not look into it again (endless recursion): the rest goes through the function.
    create policy workspace_members_select_self on public.workspace_members
      for select to keyrow_user using (user_id = (select public.current_user_id()));
    comment on policy workspace_members_select_self on public.workspace_members is 'Everybody sees their own memberships.';

    create policy workspace_members_select_co_member on public.workspace_members
      for select to keyrow_user using (workspace_id = any (array(select keyrow.member_workspace_ids())));
    comment on policy workspace_members_select_co_member on public.workspace_members is
      'Members, in any role, see who else belongs to their workspace.';

    create policy workspace_members_select_reveal on public.workspace_members
      for select to keyrow_reveal using (true);
    comment on policy workspace_members_select_reveal on public.workspace_members is
      'The functions that tell who belongs where read every membership, and answer for the asking user alone.';
  end if;
end
$foundation$;

------------------------------------------------------------------------------------------------------- the activity log
do $foundation$
begin
  if to_regclass('public.activity_logs') is null then
    -- No foreign keys: a cascade into an append-only table would make users undeletable.
    create table public.activity_logs (
      id bigint generated always as identity,
      created_at timestamptz not null default now(),
      user_id uuid,
      workspace_id uuid,
      action public."ActivityAction" not null,
      entity_type public."EntityType" not null,
      entity_id uuid not null,
      details jsonb not null default '{}',
      session_role text not null default session_user,
      primary key (created_at, id)
    ) partition by range (created_at);
    create index activity_logs_user_id_created_at_idx on public.activity_logs (user_id, created_at desc, id desc);
    -- Most entries are of nobody's workspace, and need not be in it.
    create index activity_logs_workspace_id_created_at_idx on public.activity_logs (workspace_id, created_at desc, id desc)
      where workspace_id is not null;
    comment on table public.activity_logs is 'What was done, by whom, to what. Nothing in it can be changed or deleted.';
    comment on column public.activity_logs.id is 'The entry''s number, in the order of writing.';
    comment on column public.activity_logs.created_at is 'When it was done: the time of the transaction.';
    comment on column public.activity_logs.user_id is 'The user whose claims were set; null for maintenance without claims.';
    comment on column public.activity_logs.workspace_id is 'The workspace whose credential it was, where it was a workspace''s.';
    comment on column public.activity_logs.action is 'What was done.';
    comment on column public.activity_logs.entity_type is 'The kind of thing it was done to.';
    comment on column public.activity_logs.entity_id is 'The id of the thing it was done to, which may be gone by now.';
    comment on column public.activity_logs.details is 'More about it: names and scopes, never a value.';
    comment on column public.activity_logs.session_role is 'The login role of the database session.';

    alter table public.activity_logs enable row level security;
    alter table public.activity_logs force row level security;
    revoke all on public.activity_logs from public;
    grant select on public.activity_logs to keyrow_user, keyrow_admin;
    grant insert (user_id, workspace_id, action, entity_type, entity_id, details) on public.activity_logs to keyrow_reveal;
    grant select (created_at) on public.activity_logs to keyrow_reveal;

    -- pg_dump as the owner skips, without a word, what no policy shows it.
    create policy activity_logs_select_maintenance on public.activity_logs
      for select to keyrow_owner, keyrow_admin using (true);
    comment on policy activity_logs_select_maintenance on public.activity_logs is
      'The table''s owner (for backups) and DB admins read the whole log.';

    create policy activity_logs_select_self on public.activity_logs
      for select to keyrow_user using (user_id = (select public.current_user_id()));
    comment on policy activity_logs_select_self on public.activity_logs is 'Everybody sees what they did themselves.';

    create policy activity_logs_select_workspace_admin on public.activity_logs
      for select to keyrow_user using (workspace_id = any (array(select keyrow.admin_workspace_ids())));
    comment on policy activity_logs_select_workspace_admin on public.activity_logs is
      'Owners and admins of a workspace see what was done to its credentials.';

    create policy activity_logs_insert_reveal on public.activity_logs
      for insert to keyrow_reveal with check (user_id is not distinct from (select public.current_user_id()));
    comment on policy activity_logs_insert_reveal on public.activity_logs is
      'Only the reveal function and the triggers write, and never in somebody else''s name.';

    create function keyrow.refuse_log_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
    as $function$
    begin
      raise exception 'the activity log is append-only' using errcode = 'insufficient_privilege';
    end
    $function$;
    comment on function keyrow.refuse_log_change() is 'Keeps the activity log append-only, for its owner as well.';

    create trigger activity_logs_append_only before update or delete or truncate on public.activity_logs
      for each statement execute function keyrow.refuse_log_change();

    -- A statement on one partition fires that partition's triggers, not the parent's: each has its own.
    create function keyrow.add_log_partition(name text, bounds text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
    as $function$
    begin
      execute format('create table public.%I partition of public.activity_logs %s', name, bounds);
      execute format('alter table public.%I enable row level security', name);
      execute format('alter table public.%I force row level security', name);
      execute format('create policy %I on public.%I for select to keyrow_owner using (true)', name || '_select_maintenance', name);
      execute format('comment on policy %I on public.%I is %L', name || '_select_maintenance', name,
        'The table''s owner reads the partition by itself, for backups.');
      execute format('comment on table public.%I is %L', name, 'A part of the activity log.');
      execute format(
        'create trigger %I before update or delete or truncate on public.%I for each statement execute function keyrow.refuse_log_change()',
        name || '_append_only', name);
    end
    $function$;
    comment on function keyrow.add_log_partition(text, text) is 'Makes one partition of the activity log, append-only like the rest.';

    create function keyrow.extend_activity_logs(months integer) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
    as $function$
    declare
      month date := date_trunc('month', now() at time zone 'UTC');
    begin
      if to_regclass('public.activity_logs_default') is null then
        perform keyrow.add_log_partition('activity_logs_default', 'default');
      end if;
      for i in 0..months loop
        -- Rows that came before their partition stay in the default one, which then keeps that month.
        if to_regclass(format('public.activity_logs_%s', to_char(month, 'YYYY_MM'))) is null
          and not exists (
            select from public.activity_logs_default d
            where d.created_at >= month::timestamp at time zone 'UTC'
              and d.created_at < (month + interval '1 month') at time zone 'UTC')
        then
          perform keyrow.add_log_partition(
            format('activity_logs_%s', to_char(month, 'YYYY_MM')),
            format('for values from (%L) to (%L)',
              month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'));
        end if;
        month := month + interval '1 month';
      end loop;
    end
    $function$;
    comment on function keyrow.extend_activity_logs(integer) is
      'Makes the partitions of the activity log from this month on, as many months ahead as asked for.';
  end if;

  if to_regprocedure('keyrow.extend_activity_logs(integer)') is not null then
    perform keyrow.extend_activity_logs(12);
  end if;
end
$foundation$;

---------------------------------------------------------------------------------------------------- what tokens' limits are
-- Once the migrations have run. Before that there is no API, and they make these policies themselves.
do $foundation$
begin
  if to_regprocedure('keyrow.limit_foundation()') is not null then
    perform keyrow.limit_foundation();
  end if;
end
$foundation$;

revoke create on schema public, keyrow from keyrow_reveal;
