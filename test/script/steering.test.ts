import test from "ava";
import { steers } from "../../src/script/steering.ts";

test("what loaders, shells, interpreters and tools take orders from steers, in any case", (t) => {
  for (const variable of [
    "LD_PRELOAD DYLD_INSERT_LIBRARIES GLIBC_TUNABLES PATH BASH_ENV ENV IFS PROMPT_COMMAND PAGER",
    "NODE_OPTIONS NODE_EXTRA_CA_CERTS npm_config_node_options NPM_CONFIG_SCRIPT_SHELL PYTHONPATH PYTHONSTARTUP PERL5OPT RUBYOPT",
    "JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS MAVEN_OPTS DOTNET_STARTUP_HOOKS RUSTC_WRAPPER GOFLAGS",
    "GIT_SSH_COMMAND GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 SSH_ASKPASS DOCKER_HOST AWS_CONFIG_FILE KUBECONFIG OPENSSL_CONF",
    "HTTPS_PROXY no_proxy SSL_CERT_FILE REQUESTS_CA_BUNDLE GITHUB_ENV GITHUB_PATH GITHUB_OUTPUT KEYROW_URL KEYROW_TOKEN",
  ].flatMap((line) => line.split(" "))) {
    t.true(steers(variable), variable);
  }
});

test("what a program proves itself by steers nothing, and neither does another's name that begins alike", (t) => {
  for (const variable of [
    "GITHUB_DEPLOY GITHUB_TOKEN NPM_TOKEN NPM_PUBLISH NODE_AUTH_TOKEN GIT_TOKEN SSH_PRIVATE_KEY DOCKER_PASSWORD DOCKER_USERNAME",
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY STRIPE_LIVE APP_SECRET S3_SECRET DATABASE_URL RUSTDESK_ID NODEPING_API GITEA_DEPLOY",
  ].flatMap((line) => line.split(" "))) {
    t.false(steers(variable), variable);
  }
});
