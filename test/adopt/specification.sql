-- The specification's own migration, as the application ran it.
CREATE TYPE "CredentialType" AS ENUM ('API_KEY', 'OAUTH_TOKEN', 'ACCESS_TOKEN', 'SECRET', 'PASSWORD', 'CUSTOM');
CREATE TYPE "CredentialScope" AS ENUM ('USER', 'WORKSPACE', 'SYSTEM');
ALTER TYPE "EntityType" ADD VALUE 'CREDENTIAL';
ALTER TYPE "ActivityAction" ADD VALUE 'CREDENTIAL_CREATED';
ALTER TYPE "ActivityAction" ADD VALUE 'CREDENTIAL_ACCESSED';
ALTER TYPE "ActivityAction" ADD VALUE 'CREDENTIAL_ROTATED';
ALTER TYPE "ActivityAction" ADD VALUE 'CREDENTIAL_REVOKED';

CREATE TABLE "user_credentials" (
  "id" UUID NOT NULL DEFAULT uuid_generate_v4(),
  "user_id" UUID NOT NULL,
  "workspace_id" UUID,
  "name" VARCHAR(255) NOT NULL,
  "provider" VARCHAR(100) NOT NULL,
  "type" "CredentialType" NOT NULL,
  "scope" "CredentialScope" NOT NULL DEFAULT 'USER',
  "encrypted_value" TEXT NOT NULL,
  "masked_value" VARCHAR(20),
  "description" TEXT,
  "expires_at" TIMESTAMPTZ,
  "last_used_at" TIMESTAMPTZ,
  "metadata" JSONB NOT NULL DEFAULT '{}',
  "is_active" BOOLEAN NOT NULL DEFAULT true,
  "rotated_at" TIMESTAMPTZ,
  "created_at" TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  "updated_at" TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  CONSTRAINT "user_credentials_pkey" PRIMARY KEY ("id")
);

ALTER TABLE "user_credentials" ADD CONSTRAINT "user_credentials_user_id_fkey"
  FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "user_credentials" ADD CONSTRAINT "user_credentials_workspace_id_fkey"
  FOREIGN KEY ("workspace_id") REFERENCES "workspaces"("id") ON DELETE CASCADE ON UPDATE CASCADE;

CREATE INDEX "user_credentials_user_id_idx" ON "user_credentials"("user_id");
CREATE INDEX "user_credentials_workspace_id_idx" ON "user_credentials"("workspace_id");
CREATE INDEX "user_credentials_user_id_scope_idx" ON "user_credentials"("user_id", "scope");
CREATE INDEX "user_credentials_workspace_id_scope_idx" ON "user_credentials"("workspace_id", "scope");
CREATE INDEX "user_credentials_scope_is_active_idx" ON "user_credentials"("scope", "is_active");
CREATE UNIQUE INDEX "user_credentials_user_id_workspace_id_provider_name_key"
  ON "user_credentials"("user_id", "workspace_id", "provider", "name");

ALTER TABLE user_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_credentials FORCE ROW LEVEL SECURITY;

CREATE POLICY user_credentials_owner_bypass ON user_credentials
  FOR ALL USING (current_user_id() IS NULL);
CREATE POLICY user_credentials_user_access ON user_credentials
  FOR ALL USING (scope = 'USER' AND user_id = current_user_id());
CREATE POLICY user_credentials_workspace_access ON user_credentials
  FOR ALL USING (
    scope = 'WORKSPACE' AND workspace_id IS NOT NULL AND is_workspace_admin(workspace_id, current_user_id()));

CREATE OR REPLACE FUNCTION update_user_credentials_updated_at() RETURNS TRIGGER AS $$
BEGIN
  NEW.updated_at = NOW();
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER user_credentials_updated_at BEFORE UPDATE ON user_credentials
  FOR EACH ROW EXECUTE FUNCTION update_user_credentials_updated_at();
