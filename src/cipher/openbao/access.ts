/** Who one is at an OpenBao: somebody with a token, or an AppRole that fetches its tokens itself. */
export type OpenBaoLogin = { readonly token: string } | { readonly roleId: string; readonly secretId: string };

/** How to reach an OpenBao (or a HashiCorp Vault), and who one is there. */
export interface OpenBaoAccess {
  /** `https://host:8200`, `http://...`, or `unix:///path/of/the/socket`. */
  readonly address: string;
  readonly login: OpenBaoLogin;
  /** Path of a PEM file with the authorities that sign its certificate; undefined: those of the system. */
  readonly caFile: string | undefined;
  readonly namespace: string | undefined;
  /** How long a call may take, in ms; 1,000 where nobody says. */
  readonly timeoutMs?: number | undefined;
}

/** Where the Transit key is: the mount's path without slashes at its ends, and the key's name. */
export interface TransitKey {
  readonly mount: string;
  readonly key: string;
}
