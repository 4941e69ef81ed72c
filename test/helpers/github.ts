import { randomUUID } from "node:crypto";
import { issue, type SigningKey } from "./issuer.ts";

/** A job's token as GitHub Actions makes it, for five minutes; `more` is what it says besides, or in another's place. */
export function githubToken(key: SigningKey, more: object = {}): string {
  const now = Math.floor(Date.now() / 1_000);
  const claims = {
    jti: randomUUID(),
    sub: "repo:acme/app:ref:refs/heads/main",
    aud: "https://keyrow.acme.example",
    ref: "refs/heads/main",
    sha: "0123456789abcdef0123456789abcdef01234567",
    repository: "acme/app",
    repository_owner: "acme",
    repository_owner_id: "1",
    run_id: "42",
    run_number: "7",
    run_attempt: "1",
    repository_visibility: "private",
    repository_id: "1001",
    actor_id: "5",
    actor: "ana",
    workflow: "deploy",
    head_ref: "",
    base_ref: "",
    event_name: "push",
    ref_protected: "true",
    ref_type: "branch",
    job_workflow_ref: "acme/app/.github/workflows/deploy.yml@refs/heads/main",
    runner_environment: "github-hosted",
    iss: "https://token.actions.githubusercontent.com",
    iat: now,
    nbf: now,
    exp: now + 300,
    ...more,
  };
  return issue(key, claims, { kid: key.jwk.kid, typ: "JWT" });
}
