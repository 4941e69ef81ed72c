-- An application that knows nothing of Keyrow, as its owner made it: more columns, other names of keys, row level
-- security by its own current_user_id(), and an activity log of its own form.
CREATE TYPE "EntityType" AS ENUM ('TASK', 'EVENT', 'PROJECT', 'WORKSPACE', 'USER');
CREATE TYPE "ActivityAction" AS ENUM ('CREATED', 'UPDATED', 'DELETED', 'COMPLETED', 'ASSIGNED', 'COMMENTED');
CREATE TYPE "WorkspaceMemberRole" AS ENUM ('OWNER', 'ADMIN', 'MEMBER', 'GUEST');
CREATE TYPE "Theme" AS ENUM ('LIGHT', 'DARK');

CREATE TABLE "users" (
  "id" UUID NOT NULL DEFAULT gen_random_uuid(),
  "email" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "auth_provider_id" TEXT,
  "password_hash" TEXT NOT NULL DEFAULT 'unset',
  "theme" "Theme" NOT NULL DEFAULT 'LIGHT',
  "preferences" JSONB NOT NULL DEFAULT '{}',
  "created_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  "updated_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT "pk_people" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "people_by_email" ON "users" ("email");

CREATE TABLE "workspaces" (
  "id" UUID NOT NULL DEFAULT gen_random_uuid(),
  "name" TEXT NOT NULL,
  "created_by" UUID,
  "settings" JSONB NOT NULL DEFAULT '{}',
  "created_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  "updated_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT "pk_teams" PRIMARY KEY ("id"),
  CONSTRAINT "fk_team_creator" FOREIGN KEY ("created_by") REFERENCES "users" ("id") ON DELETE SET NULL
);

CREATE TABLE "workspace_members" (
  "workspace_id" UUID NOT NULL,
  "user_id" UUID NOT NULL,
  "role" "WorkspaceMemberRole" NOT NULL DEFAULT 'MEMBER',
  "joined_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  "invited_by" UUID,
  "nickname" TEXT,
  CONSTRAINT "pk_membership" PRIMARY KEY ("user_id", "workspace_id"),
  CONSTRAINT "fk_membership_team" FOREIGN KEY ("workspace_id") REFERENCES "workspaces" ("id") ON DELETE CASCADE,
  CONSTRAINT "fk_membership_person" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE
);

CREATE TABLE "activity_logs" (
  "id" UUID NOT NULL DEFAULT gen_random_uuid(),
  "workspace_id" UUID NOT NULL,
  "user_id" UUID NOT NULL,
  "action" "ActivityAction" NOT NULL,
  "entity_type" "EntityType" NOT NULL,
  "entity_id" UUID NOT NULL,
  "details" JSONB NOT NULL DEFAULT '{}',
  "source" TEXT NOT NULL,
  "importance" SMALLINT NOT NULL,
  "ip_address" INET,
  "created_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  CONSTRAINT "pk_log" PRIMARY KEY ("id"),
  CONSTRAINT "fk_log_team" FOREIGN KEY ("workspace_id") REFERENCES "workspaces" ("id") ON DELETE CASCADE,
  CONSTRAINT "fk_log_person" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE
);

-- Who asks, and what they belong to. None has a search path of its own.
CREATE FUNCTION current_user_id() RETURNS UUID LANGUAGE sql STABLE AS $$
  SELECT nullif(current_setting('app.user_id', true), '')::uuid
$$;
CREATE FUNCTION is_workspace_member(workspace_uuid UUID, user_uuid UUID) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
  RETURN EXISTS (
    SELECT 1 FROM workspace_members WHERE workspace_id = workspace_uuid AND user_id = user_uuid);
END
$$;
CREATE FUNCTION is_workspace_admin(workspace_uuid UUID, user_uuid UUID) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
  RETURN EXISTS (
    SELECT 1 FROM workspace_members
    WHERE workspace_id = workspace_uuid AND user_id = user_uuid AND role IN ('OWNER', 'ADMIN'));
END
$$;

ALTER TABLE "workspace_members" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "members_of_my_teams" ON "workspace_members"
  USING (user_id = current_user_id() OR is_workspace_member(workspace_id, current_user_id()));
ALTER TABLE "workspaces" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "my_teams" ON "workspaces" USING (is_workspace_member(id, current_user_id()));
ALTER TABLE "users" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "myself" ON "users" USING (id = current_user_id());
ALTER TABLE "activity_logs" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "log_of_my_teams" ON "activity_logs" USING (is_workspace_member(workspace_id, current_user_id()));

-- Whom the application writes for where nobody is asking, and where no team is meant.
INSERT INTO "users" ("id", "email", "name")
VALUES ('00000000-0000-4000-8000-0000000000e1', 'system@example.org', 'The system');
INSERT INTO "workspaces" ("id", "name") VALUES ('00000000-0000-4000-8000-0000000000e2', 'Nobody in particular');

-- Fifty tables that are nobody else's business: with secrets, keys to users, and open to everybody.
DO $$
BEGIN
  FOR i IN 1..50 LOOP
    EXECUTE format(
      'CREATE TABLE unrelated_%s (
         id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
         user_id UUID REFERENCES users (id) ON DELETE CASCADE,
         theme "Theme",
         unrelated_secret_%s TEXT)', i, i);
    EXECUTE format('GRANT ALL ON unrelated_%s TO PUBLIC', i);
  END LOOP;
END
$$;
CREATE TYPE unrelated_pair AS (one TEXT, other TEXT);
CREATE VIEW unrelated_view AS SELECT id, password_hash AS unrelated_hash FROM users;
GRANT SELECT ON unrelated_view TO PUBLIC;
CREATE FUNCTION unrelated_query() RETURNS SETOF users LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT * FROM users';
CREATE FUNCTION unrelated_mutation(secret TEXT) RETURNS unrelated_pair LANGUAGE sql VOLATILE AS
  'SELECT ROW(secret, secret)::unrelated_pair';
CREATE FUNCTION users_unrelated_computed(person users) RETURNS TEXT LANGUAGE sql STABLE AS 'SELECT person.password_hash';
CREATE FUNCTION user_credentials_unrelated() RETURNS TEXT LANGUAGE sql STABLE AS 'SELECT ''unrelated''::text';
