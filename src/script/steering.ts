// What programs take orders from: `*` is any text. It can't be complete, so docs/scripts.md does not say that it is.
const steering = [
  // Loaders and the C library.
  "LD_* _RLD* DYLD_* GLIBC_* GCONV_* MALLOC_* LOCPATH NLSPATH RES_OPTIONS HOSTALIASES LOCALDOMAIN LC_* LANG LANGUAGE",
  // Shells, and where programs and files are found.
  "PATH PATHEXT COMSPEC SYSTEMROOT WINDIR PSMODULEPATH HOME USERPROFILE APPDATA XDG_* TMPDIR TEMP TMP SHELL ENV IFS PS1 PS4",
  "BASH_* BASHOPTS SHELLOPTS GLOBIGNORE CDPATH FPATH ZDOTDIR ZSH_* FISH_* PROMPT_COMMAND EDITOR VISUAL PAGER MANPAGER BROWSER LESS LESSOPEN LESSCLOSE",
  "TERM TERMCAP TERMINFO* LINES COLUMNS",
  // Interpreters and their packages.
  "NODE_* NPM_CONFIG_* PNPM_* YARN_* COREPACK_* BUN_* DENO_* ELECTRON_* TS_NODE_* PYTHON* PIP_* UV_* CONDA_* VIRTUAL_ENV*",
  "PERL_* PERL5* RUBY_* RUBYLIB RUBYOPT BUNDLE_* GEM_* PHP_* PHPRC COMPOSER_* LUA_* R_* JULIA_* ERL_* ELIXIR_* GUILE_* JAVA_* _JAVA_* JDK_* CLASSPATH",
  "MAVEN_* GRADLE_* SBT_* ANT_* DOTNET_* CORECLR_* COR_* COMPLUS_* CARGO_* RUST_* RUSTC_* RUSTFLAGS RUSTUP_* GOFLAGS GOPROXY GOPATH GOROOT GOENV CGO_*",
  "CC CXX CMAKE_* MAKEFLAGS PKG_CONFIG_*",
  // Tools that run what a variable says, or read a file that it names.
  "GIT_* SSH_* HG_* HGRCPATH SVN_* CVS_* RSYNC_* SUDO_* SYSTEMD_* CURL_* GNUPGHOME OPENSSL_* SSL_CERT_* KRB5_* LIBMYSQL_* PGSERVICE*",
  "PGSYSCONFDIR QT_* GTK_* GIO_* GST_* LIBGL_* VK_LAYER_* VK_DRIVER_* VK_ICD_* ANSIBLE_* HELM_* KUBECTL_* KUBECONFIG CLOUDSDK_* TF_CLI_* TF_PLUGIN_*",
  "DOCKER_HOST DOCKER_CONFIG DOCKER_CONTEXT DOCKER_CERT_PATH DOCKER_TLS* COMPOSE_* BUILDKIT_*",
  "AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_ENDPOINT_URL* AWS_CA_BUNDLE AWS_PROFILE AWS_DATA_PATH",
  // What a job tells those who run it.
  "GITHUB_ENV GITHUB_PATH GITHUB_OUTPUT GITHUB_STATE GITHUB_STEP_SUMMARY GITHUB_WORKSPACE GITHUB_EVENT_PATH",
  "GITHUB_API_URL GITHUB_GRAPHQL_URL GITHUB_SERVER_URL RUNNER_* ACTIONS_*",
  // Kinds that many programs have one of, among them where connections go and whom they trust.
  "*_PROXY *_CA_BUNDLE *_CA_CERTS *_CA_FILE *_OPTIONS *_OPTS *_FLAGS *_PATH *_HOME *_COMMAND *_PAGER *_EDITOR *_BROWSER",
  "*_ASKPASS *_WRAPPER *_PRELOAD *_HOOKS *_PLUGINS *_MODULES",
];
const known = new RegExp(`^(?:${steering.join(" ").replaceAll("*", ".*").replaceAll(" ", "|")})$`, "i");
// As GIT_TOKEN, NODE_AUTH_TOKEN and SSH_PRIVATE_KEY: what a program proves itself by tells it nothing to do.
const secret = /_(?:TOKEN|PASSWORD|PASSPHRASE|SECRET|KEY|AUTH|USER|USERNAME|EMAIL)$/i;

/** Whether a variable is known to steer programs, so that whoever chooses its value may choose what they do. */
export function steers(variable: string): boolean {
  // Which server and token the next `keyrow` takes.
  if (/^KEYROW_/i.test(variable)) return true;
  return known.test(variable) && !secret.test(variable);
}
